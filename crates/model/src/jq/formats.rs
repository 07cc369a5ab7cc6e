//! XML and CSV as mapping values, for events whose data is neither JSON nor empty. Both read text that
//! is there already, and pay for it like any other work.

use std::rc::Rc;

use jaq_core::{Error, ValR};
use roxmltree::{Document, Node, NodeType, ParsingOptions};

use super::meter::{self, Exhausted};
use super::value::{Members, VALUE_MAX_DEPTH, Value};

/// The most elements, texts, comments in one XML document.
const XML_MAX_NODES: u32 = 300_000;
/// An element is an object in a list: two levels.
const XML_MAX_DEPTH: u32 = VALUE_MAX_DEPTH / 2;

impl Value {
    /// The root element of an XML document: `{"t": name, "a": {attributes}, "c": [elements and texts]}`, without
    /// `a` where it has no attributes. Names are without their prefixes; texts of nothing but space, comments
    /// and processing instructions are left out. A document type is refused: entities of its own could grow.
    pub(super) fn parse_xml(self) -> ValR<Value> {
        let Value::Text(text) = &self else {
            return Err(Error::typ(self, "string"));
        };
        meter::charge(text.len() as u64 / 4);
        let options = ParsingOptions {
            allow_dtd: false,
            nodes_limit: XML_MAX_NODES,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(text.trim_start(), options).map_err(|error| {
            let place = error.pos();
            // What the parser says may quote the text.
            Error::str(format_args!(
                "fromxml: not XML at line {}, column {}",
                place.row, place.col
            ))
        })?;
        Ok(element(document.root_element(), 1))
    }

    /// The rows of a CSV text (RFC 4180), each the list of its fields. Fields are texts, so that numbers keep their
    /// digits; empty lines are no rows.
    pub(super) fn parse_csv(self) -> ValR<Value> {
        let Value::Text(text) = &self else {
            return Err(Error::typ(self, "string"));
        };
        meter::charge(text.len() as u64 / 4);
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let rows = reader.records().map(|record| {
            let record = record.map_err(|_| Error::str("fromcsv: not CSV"))?;
            Ok(record.iter().map(Value::text).collect())
        });
        rows.collect::<ValR<Vec<Value>, Value>>().map(Value::array)
    }
}

fn element(node: Node<'_, '_>, depth: u32) -> Value {
    if depth > XML_MAX_DEPTH {
        meter::exhausted(Exhausted::Depth);
    }
    let mut children = Vec::new();
    for child in node.children() {
        match child.node_type() {
            NodeType::Element => children.push(element(child, depth + 1)),
            NodeType::Text => children.extend(
                child
                    .text()
                    .filter(|text| !text.trim().is_empty())
                    .map(Value::text),
            ),
            NodeType::Root | NodeType::PI | NodeType::Comment => {}
        }
    }
    let mut members = Members::from([
        (Rc::from("t"), Value::text(node.tag_name().name())),
        (Rc::from("c"), Value::array(children)),
    ]);
    let attributes: Members = node
        .attributes()
        .map(|attribute| (Rc::from(attribute.name()), Value::text(attribute.value())))
        .collect();
    if !attributes.is_empty() {
        members.insert(Rc::from("a"), Value::object(attributes));
    }
    Value::object(members)
}
