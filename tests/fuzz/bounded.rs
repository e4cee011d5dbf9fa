//! The bounded run of a target: its seeds, and inputs made from them by chance that is the same each time. Owns
//! how inputs are made and what is told of one that fails.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::mpsc,
};

use wavegate_tests::LONG;

/// A stream of numbers: splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) as usize % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

/// Runs the seeds and so many inputs beside them. An input that fails is kept in a file that the failure names;
/// one that does not end is a failure, too.
#[expect(clippy::print_stderr, reason = "the failure is told before it goes on")]
pub(crate) fn run(target: &str, inputs: usize, run: fn(&[u8])) {
    let (sender, ended) = mpsc::channel();
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has no seeds");
    let made = made(&seeds.iter().map(|(_, seed)| seed.clone()).collect::<Vec<_>>(), inputs);
    let named = seeds.into_iter().chain(made);
    let runner = std::thread::Builder::new().name(target.to_owned()).spawn(move || {
        for (name, input) in named {
            // Each target makes all that it uses anew.
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&input)));
            if sender.send((name, input, outcome)).is_err() {
                return;
            }
        }
    });
    let runner = runner.unwrap();
    let mut last = "the first seed".to_owned();
    loop {
        match ended.recv_timeout(LONG) {
            Ok((name, _, Ok(()))) => last = name,
            Ok((name, input, Err(payload))) => {
                let kept = keep(target, &input);
                eprintln!("{target} fails on {name}, kept as {}: put it into its seeds", kept.display());
                resume_unwind(payload);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{target} does not end on what follows {last}"),
        }
    }
    runner.join().unwrap();
}

/// Its own seeds, and for plan files those that are there already.
fn folders(target: &str) -> Vec<String> {
    let mut folders = vec![format!("fuzz/seeds/{target}")];
    if target == "any_text_is_read_or_refused" {
        let others = ["good", "wrong"].map(|it| format!("../coordinator/src/planfile/testdata/{it}"));
        folders.push("../examples".to_owned());
        folders.extend(others);
    }
    folders
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folders = folders(target).into_iter().map(|it| Path::new(env!("CARGO_MANIFEST_DIR")).join(it));
    let files = folders.flat_map(|it| fs::read_dir(it).unwrap()).map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort();
    files.into_iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

fn made(seeds: &[Vec<u8>], inputs: usize) -> impl Iterator<Item = (String, Vec<u8>)> + Send + use<> {
    let seeds = seeds.to_vec();
    (0..inputs).map(move |number| {
        let mut chance = Chance(number as u64);
        (format!("input {number}"), input(&mut chance, &seeds))
    })
}

/// One of eight is nothing but chance; the others are a seed that was changed in a few places.
fn input(chance: &mut Chance, seeds: &[Vec<u8>]) -> Vec<u8> {
    if chance.below(8) == 0 {
        let length = 1 << chance.below(10);
        return (0..length).map(|_| chance.byte()).collect();
    }
    let mut bytes = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(6) {
        change(chance, &mut bytes, seeds);
    }
    bytes
}

fn change(chance: &mut Chance, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let (at, many) = (chance.below(bytes.len() + 1), chance.below(24));
    let end = (at + many).min(bytes.len());
    match chance.below(7) {
        0 | 1 if at < bytes.len() => bytes[at] = chance.byte(),
        2 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        5 => {
            let other = &seeds[chance.below(seeds.len())];
            let from = chance.below(other.len() + 1);
            let piece = other[from..(from + many * 4).min(other.len())].to_vec();
            bytes.splice(at..end, piece);
        }
        _ => {
            let noise: Vec<u8> = (0..many).map(|_| chance.byte()).collect();
            bytes.splice(at..at, noise);
        }
    }
}

fn keep(target: &str, input: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}.input"));
    fs::write(&path, input).unwrap();
    path
}
