use std::{collections::BTreeMap, fs, path::Path};

use super::{Reading, Severity, read};

mod golden;
mod random;
mod rules;

fn sets(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read_plain(source: &str) -> Reading {
    read(source, "plan.yaml", &BTreeMap::new())
}

/// Every file of a folder of test data, by name.
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/planfile/testdata").join(folder);
    let mut files: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn rendered(reading: &Reading, source: &str) -> String {
    reading.diagnostics.iter().map(|diagnostic| diagnostic.render(source) + "\n").collect()
}

fn errors(reading: &Reading) -> Vec<&str> {
    reading
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(|diagnostic| diagnostic.message.as_str())
        .collect()
}
