//! The import rules: who may depend on whom, where I/O may live, where `unsafe` may stand.

use std::{collections::BTreeMap, path::Path, process::Command};

use evb_tests::source;
use serde_json::Value;

/// What each crate may depend on among ours. A crate missing here is a crate in the wrong place.
const ALLOWED: &[(&str, &[&str])] = &[
    ("ether", &[]),
    ("hairpin", &["ether"]),
    ("carrier", &["ether", "hairpin"]),
    ("ecp", &["ether"]),
    ("lldp", &["ether"]),
    ("vdp", &["ether", "ecp", "lldp"]),
    ("cdcp", &["ether", "lldp"]),
    ("dcbx", &["ether", "lldp"]),
    ("pe", &["ether", "ecp", "lldp"]),
    ("evbd", &["ether", "hairpin", "carrier", "ecp", "lldp", "vdp", "cdcp", "dcbx", "pe"]),
    ("evb-tests", &["ether", "hairpin", "carrier", "ecp", "lldp", "vdp", "cdcp", "dcbx", "pe", "evbd"]),
];

/// Crates that may touch the outside: files, sockets, threads, clocks, random sources.
const IMPURE: &[&str] = &["carrier", "evbd", "evb-tests"];

/// What no other crate may name.
const OUTSIDE: &[&str] = &[
    "tokio",
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "std::os::fd",
    "std::time::Instant",
    "SystemTime",
    "libc::",
    "rand::",
    "std::io::",
    "std::env",
];

#[test]
fn crates_depend_as_the_house_is_drawn() {
    let ours = packages();
    for (name, dependencies) in &ours {
        let allowed = ALLOWED.iter().find(|(n, _)| n == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("crate {name} is not in the drawing"));
        for dependency in dependencies.iter().filter(|d| ours.contains_key(*d)) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not import {dependency}");
        }
    }
    for (name, _) in ALLOWED {
        assert!(ours.contains_key(*name), "crate {name} of the drawing does not exist");
    }
}

#[test]
fn protocol_crates_touch_no_outside() {
    for (krate, file, text) in sources() {
        if IMPURE.contains(&krate.as_str()) {
            continue;
        }
        for (number, line) in production(&text) {
            for word in OUTSIDE {
                assert!(!line.contains(word), "{file}:{number}: {krate} must not use {word}: {line}");
            }
        }
    }
}

#[test]
fn unsafe_stands_in_carrier_alone() {
    for (krate, file, text) in sources() {
        let says = text.lines().any(|l| {
            let l = l.split("//").next().unwrap_or("");
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|u| l.contains(u))
        });
        assert!(!says || krate == "carrier", "{file}: unsafe outside carrier");
    }
    for (name, manifest) in source::manifests() {
        let own = manifest.contains("[lints.rust]");
        assert_eq!(own, name == "carrier", "{name}: only carrier has lints of its own");
        assert!(own || manifest.contains("[lints]\nworkspace = true"), "{name}: takes the workspace's lints");
    }
}

#[test]
fn codecs_do_not_import_machines() {
    const CODECS: &[(&str, &[&str])] = &[
        ("lldp", &["tlv", "basic", "org", "pdu", "content", "dot1", "dot3", "med"]),
        ("ecp", &["header"]),
        ("vdp", &["tlv", "filter", "vsi"]),
    ];
    const MACHINES: &[&str] = &["agent", "tx", "rx", "txtimer", "station", "bridge", "link"];
    for (krate, file, text) in sources() {
        let Some((_, codecs)) = CODECS.iter().find(|(name, _)| *name == krate) else { continue };
        let stem = Path::new(&file).file_stem().and_then(|s| s.to_str()).unwrap_or("").to_owned();
        if !codecs.contains(&stem.as_str()) {
            continue;
        }
        for (number, line) in production(&text) {
            for machine in MACHINES {
                assert!(
                    !line.contains(&format!("crate::{machine}::")),
                    "{file}:{number}: codec imports {machine}"
                );
            }
        }
    }
}

#[test]
fn the_top_level_is_as_drawn() {
    const VISIBLE: &[&str] = &[
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "cdcp",
        "dcbx",
        "evbd",
        "hairpin",
        "lldp",
        "pe",
        "tests",
        "vdp",
    ];
    let mut seen: Vec<String> = std::fs::read_dir(source::root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    seen.sort();
    assert_eq!(seen, VISIBLE);
}

/// The lines of a file that are neither comments nor its test module, numbered from 1.
fn production(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .map(|(i, l)| (i + 1, l))
        .filter(|(_, l)| !l.trim_start().starts_with("//"))
}

/// (crate, file, text) of every source file outside tests.
fn sources() -> Vec<(String, String, String)> {
    source::files().into_iter().filter(|(_, file, _)| !file.contains("tests")).collect()
}

/// Our crates with the names of everything each depends on, tests' dependencies left out.
fn packages() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(source::root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = |p: &Value| {
        let depends = p["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
        let depends = depends.map(|d| d["name"].as_str().unwrap().to_owned()).collect();
        (p["name"].as_str().unwrap().to_owned(), depends)
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}
