//! One number for a whole configuration, by which hubs and revisions tell whether theirs differ.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::SourceFile;

/// SHA-256, in hexadecimal, over the files in the order of their paths. Every path and text is
/// preceded by its length, so that no two sets of files share a digest by moving a boundary.
pub fn digest(files: &[SourceFile]) -> String {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by(|a, b| (&a.path, &a.text).cmp(&(&b.path, &b.text)));
    let mut hash = Sha256::new();
    for part in files.iter().flat_map(|file| [&file.path, &file.text]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn the_order_of_the_files_does_not_matter_and_everything_else_does() {
        let (a, b) = (file("adapters/a.toml", "x"), file("adapters/b.toml", "y"));
        let both = digest(&[a.clone(), b.clone()]);
        assert_eq!(both, digest(&[b.clone(), a.clone()]));
        assert_eq!(both.len(), 64);
        assert_ne!(both, digest(&[a]));
        assert_ne!(
            both,
            digest(&[file("adapters/a.toml", "xadapters/b.toml"), file("", "y")])
        );
        assert_eq!(
            digest(&[]),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
