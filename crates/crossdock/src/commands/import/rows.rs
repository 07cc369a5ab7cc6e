//! Rows of a file, one after the other: CSV with a header row, or JSON lines.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A line of JSON lines may be as long.
const LINE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// One row.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// Counted from 1, the header not counted.
    pub(super) number: u64,
    /// What the mapping gets, or why the row cannot be read.
    pub(super) content: Result<Value, String>,
    /// Equal for rows that are equal to the letter.
    pub(super) digest: [u8; 16],
    /// What the row takes in the file, about.
    pub(super) bytes: u64,
}

/// The rows of one file.
pub(super) enum Rows {
    Csv {
        reader: csv::Reader<BufReader<File>>,
        columns: Vec<String>,
        number: u64,
        position: u64,
    },
    JsonLines {
        reader: BufReader<File>,
        number: u64,
    },
}

impl Rows {
    /// Opens a file. It is JSON lines if it is named `.json`, `.jsonl` or `.ndjson`, or if its first
    /// character opens a JSON object; else CSV.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let cannot_read = || format!("cannot read {}", path.display());
        let mut reader = BufReader::new(File::open(path).with_context(cannot_read)?);
        let beginning = reader.fill_buf().with_context(cannot_read)?;
        let beginning = beginning.strip_prefix("\u{feff}".as_bytes()).unwrap_or(beginning);
        let beginning = beginning.trim_ascii_start();
        let is_object = beginning.starts_with(b"{");
        let is_named_json = path.extension().is_some_and(|extension| {
            ["json", "jsonl", "ndjson"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        });
        if is_named_json && beginning.starts_with(b"[") {
            bail!(
                "{} is a JSON array; write it as JSON lines, one row a line",
                path.display()
            );
        }
        if is_object || is_named_json {
            return Ok(Self::JsonLines { reader, number: 0 });
        }
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(reader);
        let header = reader.byte_headers().with_context(cannot_read)?.clone();
        let columns = columns(&header).with_context(|| format!("the header row of {}", path.display()))?;
        Ok(Self::Csv {
            reader,
            columns,
            number: 0,
            position: 0,
        })
    }

    /// The names of a CSV file's columns.
    pub(super) fn columns(&self) -> Option<&[String]> {
        match self {
            Self::Csv { columns, .. } => Some(columns),
            Self::JsonLines { .. } => None,
        }
    }

    /// The next row; none after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        match self {
            Self::Csv {
                reader,
                columns,
                number,
                position,
            } => {
                let mut record = csv::ByteRecord::new();
                if !reader.read_byte_record(&mut record).map_err(into_io)? {
                    return Ok(None);
                }
                *number += 1;
                let bytes = reader.position().byte() - *position;
                *position = reader.position().byte();
                let content = object(columns, &record);
                Ok(Some(Row {
                    number: *number,
                    content,
                    digest: digest(record.iter()),
                    bytes,
                }))
            }
            Self::JsonLines { reader, number } => loop {
                let mut line = Vec::new();
                let length = reader.take(LINE_MAX_BYTES).read_until(b'\n', &mut line)? as u64;
                if length == 0 {
                    return Ok(None);
                }
                if length == LINE_MAX_BYTES {
                    return Err(io::Error::other(format!("row {} is too long", *number + 1)));
                }
                let line = line
                    .strip_prefix("\u{feff}".as_bytes())
                    .unwrap_or(&line)
                    .trim_ascii();
                if line.is_empty() {
                    continue;
                }
                *number += 1;
                let content = serde_json::from_slice(line).map_err(|error| format!("is not JSON: {error}"));
                return Ok(Some(Row {
                    number: *number,
                    content,
                    digest: digest([line].into_iter()),
                    bytes: length,
                }));
            },
        }
    }
}

fn columns(header: &csv::ByteRecord) -> anyhow::Result<Vec<String>> {
    let mut columns: Vec<String> = Vec::with_capacity(header.len());
    for (index, name) in header.iter().enumerate() {
        let name = std::str::from_utf8(name)
            .ok()
            .with_context(|| format!("column {} is not UTF-8", index + 1))?;
        if name.is_empty() {
            bail!("column {} has no name", index + 1);
        }
        if columns.iter().any(|column| column == name) {
            bail!("two columns have the name {name:?}");
        }
        columns.push(name.to_owned());
    }
    if columns.is_empty() {
        bail!("it is empty");
    }
    Ok(columns)
}

fn object(columns: &[String], record: &csv::ByteRecord) -> Result<Value, String> {
    if record.len() != columns.len() {
        return Err(format!(
            "has {} fields, the header has {}",
            record.len(),
            columns.len()
        ));
    }
    let mut object = Map::with_capacity(columns.len());
    for (name, field) in columns.iter().zip(record) {
        let text = std::str::from_utf8(field).map_err(|_| format!("column {name:?} is not UTF-8"))?;
        object.insert(name.clone(), Value::from(text));
    }
    Ok(Value::Object(object))
}

fn digest<'a>(fields: impl Iterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    let whole = hash.finalize();
    std::array::from_fn(|index| whole[index])
}

fn into_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(name: &str, content: &[u8]) -> Vec<Row> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let mut rows = Rows::open(&path).unwrap();
        std::iter::from_fn(|| rows.next().unwrap()).collect()
    }

    #[test]
    fn csv_fields_stay_text() {
        let rows = read(
            "a.csv",
            b"\xef\xbb\xbfid,name\r\n007,\"Smith, \"\"J\"\"\"\r\n8,\n9\n1,\xff\n",
        );
        let contents: Vec<_> = rows.iter().map(|row| row.content.clone()).collect();
        assert_eq!(
            contents,
            [
                Ok(json!({"id": "007", "name": "Smith, \"J\""})),
                Ok(json!({"id": "8", "name": ""})),
                Err("has 1 fields, the header has 2".into()),
                Err("column \"name\" is not UTF-8".into()),
            ]
        );
        assert_eq!(
            rows.iter().map(|row| row.number).collect::<Vec<_>>(),
            [1, 2, 3, 4]
        );
    }

    #[test]
    fn json_lines_are_known_by_name_or_beginning() {
        for name in ["a.jsonl", "a.txt"] {
            let rows = read(name, b"\n{\"a\": 1}\r\n\nnot json\n{\"a\":2}");
            assert_eq!(rows.len(), 3, "{name}");
            assert_eq!(rows[0].content, Ok(json!({"a": 1})));
            assert!(rows[1].content.is_err());
            assert_eq!(rows[2].number, 3);
        }
    }

    #[test]
    fn equal_to_the_letter_means_every_field() {
        let rows = read("a.csv", b"a,b\n1,23\n12,3\n1,23\n1,23 \n");
        assert_eq!(rows[0].digest, rows[2].digest);
        assert_ne!(rows[0].digest, rows[1].digest);
        assert_ne!(rows[0].digest, rows[3].digest);
    }

    #[test]
    fn a_header_names_every_column_once() {
        let folder = tempfile::tempdir().unwrap();
        for (content, expected) in [("a,a\n", "two columns"), ("a,\n", "no name"), ("", "empty")] {
            let path = folder.path().join("a.csv");
            std::fs::write(&path, content).unwrap();
            let error = format!("{:#}", Rows::open(&path).err().unwrap());
            assert!(error.contains(expected), "{error}");
        }
    }
}
