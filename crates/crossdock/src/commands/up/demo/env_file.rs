//! Files of `KEY=value` lines, in which the hub hands an adapter its credentials.

use std::{io, path::Path};

/// The variables of a file, in its order.
///
/// # Errors
/// When the file cannot be read, or a line is neither blank, a comment, nor `KEY=value`.
pub(super) fn read(path: &Path) -> io::Result<Vec<(String, String)>> {
    parse(&std::fs::read_to_string(path)?)
}

fn parse(text: &str) -> io::Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) if !name.is_empty() => variables.push((name.to_owned(), value.to_owned())),
            _ => {
                let reason = format!("line {} is not KEY=value", index + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
    }
    Ok(variables)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_anything_but_a_line_end() {
        let read =
            parse("# erp\nCROSSDOCK_ADAPTER=erp\n\nCROSSDOCK_AMQP_URL=amqp://u:p=@h/%2f?a=b\r\n").unwrap();
        assert_eq!(read[0], ("CROSSDOCK_ADAPTER".into(), "erp".into()));
        assert_eq!(read[1].1, "amqp://u:p=@h/%2f?a=b");
    }

    #[test]
    fn a_fault_is_named_by_its_line_and_not_by_what_it_says() {
        let error = parse("A=1\nhunter2\n").unwrap_err().to_string();
        assert_eq!(error, "line 2 is not KEY=value");
        assert!(parse("=1").is_err());
    }
}
