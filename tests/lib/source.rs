//! The project's own files, for the suites that check how it is built.

use std::path::{Path, PathBuf};

/// The project's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// Directory of each crate, innermost first so that a file belongs to the first that holds it.
pub const CRATES: &[(&str, &str)] = &[
    ("ether", "hairpin/ether"),
    ("carrier", "hairpin/carrier"),
    ("hairpin", "hairpin"),
    ("ecp", "vdp/ecp"),
    ("vdp", "vdp"),
    ("lldp", "lldp"),
    ("cdcp", "cdcp"),
    ("dcbx", "dcbx"),
    ("pe", "pe"),
    ("evbd", "evbd"),
    ("evb-tests", "tests"),
];

/// (crate, path below the root, text) of every Rust file of the project.
#[must_use]
pub fn files() -> Vec<(String, String, String)> {
    let root = root();
    let mut found = Vec::new();
    for (_, top) in CRATES {
        // Nested crates come up under their parent as well; the parent's walk finds every file once.
        if !top.contains('/') {
            walk(&root.join(top), &mut found);
        }
    }
    found
        .into_iter()
        .map(|path| {
            let file = path.strip_prefix(&root).expect("below the root").display().to_string();
            let (krate, _) = CRATES
                .iter()
                .find(|(_, dir)| file.starts_with(&format!("{dir}/")))
                .expect("every file is in a crate");
            let text = std::fs::read_to_string(&path).expect("a readable source file");
            ((*krate).to_owned(), file, text)
        })
        .collect()
}

/// (crate, text) of every crate's manifest.
#[must_use]
pub fn manifests() -> Vec<(&'static str, String)> {
    let read = |dir| std::fs::read_to_string(root().join(dir).join("Cargo.toml")).expect("a manifest");
    CRATES.iter().filter(|(name, _)| *name != "evb-tests").map(|(name, dir)| (*name, read(dir))).collect()
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && name != "fuzz") {
                walk(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}
