//! Filters as a tree of levels, so that one publish finds its subscribers by walking the topic and not
//! by asking every filter. A level that nothing hangs on is freed at once: topics like
//! `state/preflight/<file key>` are new with every upload, and the tree must not remember them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crossdock_model::topic::{ALL_LEVELS, ONE_LEVEL, SEPARATOR, TopicFilter, TopicName};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

/// Who holds which filter. `K` names the holder, `V` is what
/// goes with the subscription; the same holder has a filter at most once.
#[derive(Debug)]
pub(crate) struct Index<K, V> {
    root: Node<K, V>,
    len: usize,
    levels: Levels,
}

/// How many there are, and of whom: a level counts for who was the first to need it.
#[derive(Debug, Default)]
struct Levels {
    all: usize,
    by_owner: HashMap<Arc<str>, usize>,
}

#[derive(Debug)]
struct Node<K, V> {
    /// In boxes, since a map has room for more than it holds and most have one child.
    children: HashMap<Box<str>, Box<Node<K, V>>>,
    holders: HashMap<K, V>,
    owner: Arc<str>,
}

impl<K, V> Node<K, V> {
    fn of(owner: Arc<str>) -> Self {
        Self {
            children: HashMap::new(),
            holders: HashMap::new(),
            owner,
        }
    }
}

impl<K, V> Default for Index<K, V> {
    fn default() -> Self {
        Self {
            root: Node::of(Arc::from("")),
            len: 0,
            levels: Levels::default(),
        }
    }
}

impl<K: Eq + Hash, V> Index<K, V> {
    /// How many subscriptions it holds.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many levels it keeps, of all filters, each once.
    #[must_use]
    pub(crate) fn levels(&self) -> usize {
        self.levels.all
    }

    /// How many of them count for this owner.
    #[must_use]
    pub(crate) fn levels_of(&self, owner: &str) -> usize {
        self.levels.by_owner.get(owner).copied().unwrap_or(0)
    }

    /// Whether all levels of a filter are there.
    #[must_use]
    pub(crate) fn has_levels(&self, filter: &TopicFilter) -> bool {
        let mut node = &self.root;
        filter.levels().all(|level| {
            let child = node.children.get(level);
            child.inspect(|child| node = child).is_some()
        })
    }

    /// Adds a subscription, or replaces the holder's own under this filter; gives what was there. Levels that it adds count
    /// for the owner.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, owner: &Arc<str>, key: K, value: V) -> Option<V> {
        let mut node = &mut self.root;
        for level in filter.levels() {
            if !node.children.contains_key(level) {
                let child = Box::new(Node::of(owner.clone()));
                node.children.insert(level.into(), child);
                self.levels.add(owner);
            }
            node = node.children.get_mut(level).expect("it was put there above");
        }
        let before = node.holders.insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Removes a holder's subscription and every level that only it needed.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, key: &K) -> Option<V> {
        let removed = self.root.remove(filter.as_str(), key, &mut self.levels);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The holders of every filter that matches the name, filter by filter. A holder of several matching
    /// filters is among several.
    pub(crate) fn matching(&self, name: &TopicName) -> Vec<&HashMap<K, V>> {
        let mut found = Vec::new();
        self.root
            .matching(Some(name.as_str()), !name.is_reserved(), &mut found);
        found
    }

    /// Every filter that somebody holds.
    pub(crate) fn filters(&self) -> Vec<TopicFilter> {
        let mut found = Vec::new();
        self.root.filters("", &mut found);
        found
    }

    #[cfg(test)]
    fn room_below(&self, level: &str) -> usize {
        self.root.children[level].children.capacity()
    }
}

impl Levels {
    fn add(&mut self, owner: &Arc<str>) {
        self.all += 1;
        *self.by_owner.entry(owner.clone()).or_default() += 1;
    }

    fn remove(&mut self, owner: &Arc<str>) {
        self.all -= 1;
        if let Some(own) = self.by_owner.get_mut(owner) {
            *own -= 1;
            if *own == 0 {
                self.by_owner.remove(owner);
            }
        }
    }
}

impl<K: Eq + Hash, V> Node<K, V> {
    fn remove(&mut self, path: &str, key: &K, levels: &mut Levels) -> Option<V> {
        let (level, rest) = split(path);
        let child = self.children.get_mut(level)?;
        let removed = match rest {
            Some(rest) => child.remove(rest, key, levels),
            None => child.take(key),
        };
        if child.children.is_empty() && child.holders.is_empty() {
            levels.remove(&child.owner);
            self.children.remove(level);
            shrink(&mut self.children);
        }
        removed
    }

    fn take(&mut self, key: &K) -> Option<V> {
        let removed = self.holders.remove(key);
        shrink(&mut self.holders);
        removed
    }

    /// `path`: the levels that are left, none where the topic has ended; `wild`: whether a wildcard may match here.
    fn matching<'a>(&'a self, path: Option<&str>, wild: bool, found: &mut Vec<&'a HashMap<K, V>>) {
        if wild && let Some(all) = self.children.get(ALL_LEVELS) {
            all.report(found);
        }
        let Some(path) = path else {
            return self.report(found);
        };
        let (level, rest) = split(path);
        if let Some(child) = self.children.get(level) {
            child.matching(rest, true, found);
        }
        if wild && let Some(child) = self.children.get(ONE_LEVEL) {
            child.matching(rest, true, found);
        }
    }

    fn report<'a>(&'a self, found: &mut Vec<&'a HashMap<K, V>>) {
        if !self.holders.is_empty() {
            found.push(&self.holders);
        }
    }

    fn filters(&self, above: &str, found: &mut Vec<TopicFilter>) {
        for (level, child) in &self.children {
            let path = format!("{above}{level}");
            if !child.holders.is_empty() {
                found.extend(TopicFilter::new(&path));
            }
            child.filters(&format!("{path}{SEPARATOR}"), found);
        }
    }
}

fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once(SEPARATOR) {
        Some((level, rest)) => (level, Some(rest)),
        None => (path, None),
    }
}

/// Gives memory back once a map is mostly empty; a quarter keeps that from happening at every removal.
fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.len() * 4 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}
