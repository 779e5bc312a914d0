//! Every target of [`evb_tests::targets`] on seeds made of the vectors, and on a fixed number of mutations of them.
//!
//! The mutations follow a fixed seed, so that a run is always the same. `EVBD_FUZZ_ROUNDS` multiplies their number,
//! `EVBD_FUZZ_SEED` makes others, `EVBD_FUZZ_ONLY=target` leaves out the other targets, `EVBD_FUZZ_INPUT=target:hex`
//! plays a single input again, and `EVBD_FUZZ_CORPUS=dir` also writes the seeds where `cargo fuzz` looks for them.

#![cfg(test)]

#[path = "../vectors/file.rs"]
mod file;
mod seeds;

use std::{collections::BTreeSet, env, fs, path::Path};

use evb_tests::{
    source,
    targets::{ALL, Target, run},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::seeds::Seeds;

#[test]
fn no_input_breaks_a_target() {
    if let Ok(input) = env::var("EVBD_FUZZ_INPUT") {
        let (name, hex) = input.split_once(':').expect("EVBD_FUZZ_INPUT is target:hex");
        return run(name, &file::octets(hex));
    }
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().expect(name));
    let (rounds, seed) = (ROUNDS * number("EVBD_FUZZ_ROUNDS", 1), number("EVBD_FUZZ_SEED", 0));
    let only = env::var("EVBD_FUZZ_ONLY").ok();
    let seeds = Seeds::of_vectors();
    for (name, target) in ALL.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let seeds = seeds.of(name);
        assert!(!seeds.is_empty(), "{name}: no seed");
        if let Ok(corpus) = env::var("EVBD_FUZZ_CORPUS") {
            write(&Path::new(&corpus).join(name), &seeds);
        }
        let mut random = StdRng::seed_from_u64(seed);
        seeds.iter().for_each(|input| attempt(name, *target, input));
        for _ in 0..rounds {
            attempt(name, *target, &mutated(&seeds, &mut random));
        }
    }
}

#[test]
fn every_target_has_its_fuzzer() {
    let manifest: toml::Table = toml::from_str(include_str!("Cargo.toml")).unwrap();
    let fuzzers: BTreeSet<_> =
        manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap()).collect();
    assert_eq!(fuzzers, ALL.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>());
    for name in fuzzers {
        let file = source::root().join("tests/fuzz/fuzz_targets").join(name).with_extension("rs");
        assert!(fs::read_to_string(file).unwrap().contains(&format!("run(\"{name}\"")), "{name}");
    }
}

/// Mutations of each target. All of them together take some seconds.
const ROUNDS: u64 = 300;

/// Runs `target`; when it panics, says how to see that again.
fn attempt(name: &str, target: Target, input: &[u8]) {
    if let Err(cause) = std::panic::catch_unwind(|| target(input)) {
        let hex: String = input.iter().map(|octet| format!("{octet:02x}")).collect();
        eprintln!("play it again with EVBD_FUZZ_INPUT={name}:{hex}");
        std::panic::resume_unwind(cause);
    }
}

/// A seed with some octets changed, taken out, repeated or put in; now and then nothing but chance.
fn mutated(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    if random.random_ratio(1, 8) {
        return noise(random, 200);
    }
    let mut octets = seeds.choose(random).unwrap().clone();
    for _ in 0..random.random_range(1..=6) {
        let at = random.random_range(0..=octets.len());
        let to = random.random_range(at..=octets.len().min(at + 64));
        match random.random_range(0..8) {
            0 => octets[at..to].iter_mut().take(1).for_each(|octet| *octet ^= 1 << random.random_range(0..8)),
            1 => octets[at..to].iter_mut().take(1).for_each(|octet| *octet = random.random()),
            2 => {
                let edge = *[0x00, 0x01, 0x0f, 0x7f, 0x80, 0xff].choose(random).unwrap();
                octets[at..to].iter_mut().take(2).for_each(|octet| *octet = edge);
            }
            3 => drop(octets.splice(at..at, noise(random, 8))),
            4 => drop(octets.drain(at..to)),
            5 => octets.truncate(at),
            6 => {
                let again = octets[at..to].to_vec();
                octets.splice(at..at, again);
            }
            _ => {
                let other = seeds.choose(random).unwrap();
                let from = random.random_range(0..=other.len());
                octets.truncate(at);
                octets.extend_from_slice(&other[from..]);
            }
        }
    }
    octets
}

/// Chance, half of the time mostly of small numbers: steps of a script, and operands that mean something.
fn noise(random: &mut StdRng, most: usize) -> Vec<u8> {
    let (length, small) = (random.random_range(0..=most), random.random());
    let mut octet =
        || if small && random.random_ratio(7, 8) { random.random_range(0..12) } else { random.random() };
    (0..length).map(|_| octet()).collect()
}

fn write(directory: &Path, seeds: &[Vec<u8>]) {
    fs::create_dir_all(directory).unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(directory.join(format!("seed{number:03}")), seed).unwrap();
    }
}
