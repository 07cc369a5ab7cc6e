//! Text that PostgreSQL takes. Its TEXT holds every character but U+0000, which free text, such as the header of a
//! message that was refused for it, may well have. So U+0000 is written as an escape, and so is what begins an
//! escape: U+FDD0, of the characters that Unicode sets aside for such uses and that no valid event has.

use std::borrow::Cow;

const ESCAPE: char = '\u{fdd0}';
const NUL: char = '0';
const ITSELF: char = '1';

/// A text as a column holds it. Nearly every one is given back as it is.
pub(super) fn bound(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([ESCAPE, NUL]),
            ESCAPE => escaped.extend([ESCAPE, ITSELF]),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The same for a column that may be empty.
pub(super) fn bound_if_any(text: Option<&str>) -> Option<Cow<'_, str>> {
    text.map(bound)
}

/// The text that a column holds.
pub(super) fn read(held: String) -> String {
    if !held.contains(ESCAPE) {
        return held;
    }
    let mut text = String::with_capacity(held.len());
    let mut characters = held.chars();
    while let Some(character) = characters.next() {
        match character {
            ESCAPE if characters.next() == Some(NUL) => text.push('\0'),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_none_has_a_nul_on_the_way() {
        for text in [
            "",
            "plain",
            "Größe 🛒",
            "\0",
            "a\0b\0",
            "\u{fdd0}",
            "\u{fdd0}0",
            "\u{fdd0}1\0\u{fdd0}\0",
        ] {
            let held = bound(text);
            assert!(!held.contains('\0'), "{text:?}");
            assert_eq!(read(held.into_owned()), text);
        }
    }
}
