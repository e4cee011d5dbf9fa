use std::{collections::BTreeMap, fs, path::Path};

use super::{Deed, Disk, Event, Fate, Trace, event::Place, spoken};

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// The events of a log in which `"text"` and `<path>` are written plainly.
fn events(plain: &str) -> Vec<Event> {
    let mut log = String::new();
    for line in plain.lines() {
        let mut rest = line;
        while let Some(from) = rest.find(['"', '<']) {
            let is_text = rest[from..].starts_with('"');
            let close = if is_text { '"' } else { '>' };
            let Some(length) = rest[from + 1..].find(close) else { break };
            let inner = &rest[from + 1..=from + length];
            let is_path = is_text || inner.starts_with('/') || inner.starts_with("socket:");
            log += &rest[..=from];
            log += &if is_path { hex(inner) } else { inner.to_owned() };
            log.push(close);
            rest = &rest[from + length + 2..];
        }
        log += rest;
        log.push('\n');
    }
    Event::all(&Trace::parse(&log), Path::new("/root"))
}

/// Paths and contents after a power loss at the end of these events.
fn left(events: &[Event], cut: usize, fate: Fate) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    Disk::at_each(events, &[cut], |_, disk| disk.rebuild(fate, folder.path()).unwrap());
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder.path()).unwrap().display().to_string();
                found.insert(name, String::from_utf8(fs::read(entry.path()).unwrap()).unwrap());
            }
        }
    }
    found
}

fn names(found: &BTreeMap<String, String>) -> Vec<&str> {
    found.iter().flat_map(|(name, text)| [name.as_str(), text.as_str()]).collect()
}

const SPOOL: &str = r#"7 1.0 openat(AT_FDCWD</>, "/root/a.new", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 5</root/a.new>
7 1.1 write(5</root/a.new>, "hello", 5) = 5
7 1.2 fsync(5</root/a.new>) = 0
7 1.3 rename("/root/a.new", "/root/a") = 0
7 1.4 openat(AT_FDCWD</>, "/root", O_RDONLY|O_CLOEXEC) = 6</root>
7 1.5 fsync(6</root>) = 0
"#;

#[test]
fn what_was_synced_with_its_name_is_there_whatever_befalls_the_rest() {
    let events = events(SPOOL);
    for fate in [Fate::Nothing, Fate::Everything, Fate::Seed(1), Fate::Seed(2), Fate::Seed(3)] {
        assert_eq!(names(&left(&events, 6, fate)), ["a", "hello"], "{fate:?}");
    }
    assert_eq!(names(&left(&events, 5, Fate::Nothing)), [] as [&str; 0]);
    assert_eq!(names(&left(&events, 3, Fate::Everything)), ["a.new", "hello"]);
    // Synced, and its name is anybody's guess: the old one, the new one or none.
    let mut seen: Vec<_> = (0..64).map(|seed| left(&events, 5, Fate::Seed(seed))).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(
        seen.iter().map(names).collect::<Vec<_>>(),
        [vec![], vec!["a", "hello"], vec!["a.new", "hello"]]
    );
}

#[test]
fn a_sync_covers_what_had_returned_before_it_began() {
    let text = r#"7 1.0 openat(AT_FDCWD</>, "/root/a", O_RDWR|O_CREAT, 0666) = 5</root/a>
7 1.1 openat(AT_FDCWD</>, "/root", O_RDONLY) = 6</root>
7 1.2 fsync(6</root>) = 0
7 1.3 pwrite64(5</root/a>, "early", 5, 0) = 5
8 1.4 fsync(5</root/a> <unfinished ...>
7 1.5 pwrite64(5</root/a>, "late.", 5, 0) = 5
8 1.6 <... fsync resumed>) = 0
"#;
    let events = events(text);
    assert_eq!(names(&left(&events, 7, Fate::Nothing)), ["a", "early"]);
    assert_eq!(names(&left(&events, 7, Fate::Everything)), ["a", "late."]);
    // In flight, the sync has promised nothing.
    assert_eq!(names(&left(&events, 6, Fate::Nothing)), ["a", ""]);
}

#[test]
fn after_a_sync_that_failed_only_what_is_written_anew_becomes_sure() {
    let text = r#"7 1.0 openat(AT_FDCWD</>, "/root/a", O_RDWR|O_CREAT|O_APPEND, 0666) = 5</root/a>
7 1.1 openat(AT_FDCWD</>, "/root", O_RDONLY) = 6</root>
7 1.2 fsync(6</root>) = 0
7 1.3 write(5</root/a>, "one", 3) = 3
7 1.4 fdatasync(5</root/a>) = -1 EIO (Input/output error) (INJECTED)
7 1.5 fdatasync(5</root/a>) = 0
7 1.6 pwrite64(5</root/a>, "NE", 2, 1) = 2
7 1.7 fdatasync(5</root/a>) = 0
7 1.8 ftruncate(5</root/a>, 1) = 0
7 1.9 fdatasync(5</root/a>) = 0
"#;
    let events = events(text);
    assert_eq!(names(&left(&events, 6, Fate::Nothing)), ["a", ""]);
    assert_eq!(names(&left(&events, 6, Fate::Everything)), ["a", "one"]);
    assert_eq!(names(&left(&events, 8, Fate::Nothing)), ["a", "\0NE"]);
    assert_eq!(names(&left(&events, 8, Fate::Everything)), ["a", "oNE"]);
    assert_eq!(names(&left(&events, 10, Fate::Nothing)), ["a", "\0"]);
}

#[test]
fn sectors_of_a_write_come_and_go_one_by_one() {
    let pad = "x".repeat(512);
    let text = format!(
        "7 1.0 openat(AT_FDCWD</>, \"/root/a\", O_RDWR|O_CREAT, 0666) = 5</root/a>\n7 1.1 openat(AT_FDCWD</>, \"/root\", O_RDONLY) = 6</root>\n7 1.2 fsync(6</root>) = 0\n7 1.3 pwrite64(5</root/a>, \"{pad}{pad}{pad}\", 1536, 0) = 1536\n"
    );
    let events = events(&text);
    let mut torn: Vec<String> =
        (0..200).map(|seed| left(&events, 4, Fate::Seed(seed))["a"].clone()).collect();
    torn.sort();
    torn.dedup();
    assert_eq!(torn.len(), 8, "each of three sectors may be there or not");
    let hole = "\0".repeat(512);
    assert!(torn.contains(&format!("{pad}{hole}{pad}")));
}

#[test]
fn a_rename_into_another_folder_happens_whole_until_one_of_them_alone_is_synced() {
    let text = SPOOL.to_owned()
        + r#"7 2.0 mkdir("/root/kept", 0777) = 0
7 2.1 fsync(6</root>) = 0
7 2.2 rename("/root/a", "/root/kept/a") = 0
7 2.3 fsync(6</root>) = 0
7 2.4 openat(AT_FDCWD</>, "/root/kept", O_RDONLY) = 7</root/kept>
7 2.5 fsync(7</root/kept>) = 0
7 2.6 unlinkat(7</root/kept>, "a", 0) = 0
"#;
    let events = events(&text);
    let mut seen: Vec<_> = (0..64).map(|seed| left(&events, 9, Fate::Seed(seed))).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.iter().map(names).collect::<Vec<_>>(), [vec!["a", "hello"], vec!["kept/a", "hello"]]);
    assert_eq!(names(&left(&events, 10, Fate::Nothing)), [] as [&str; 0], "neither here nor there");
    assert_eq!(names(&left(&events, 12, Fate::Nothing)), ["kept/a", "hello"]);
    assert_eq!(names(&left(&events, 13, Fate::Nothing)), ["kept/a", "hello"]);
    assert_eq!(names(&left(&events, 13, Fate::Everything)), [] as [&str; 0]);
}

#[test]
fn a_second_name_is_of_the_same_file() {
    let text = SPOOL.to_owned()
        + r#"7 2.0 mkdir("/root/kept", 0777) = 0
7 2.1 fsync(6</root>) = 0
7 2.2 linkat(AT_FDCWD</>, "/root/a", AT_FDCWD</>, "/root/kept/b", 0) = 0
7 2.3 openat(AT_FDCWD</>, "/root/kept", O_RDONLY) = 7</root/kept>
7 2.4 unlink("/root/a") = 0
7 2.5 fsync(7</root/kept>) = 0
"#;
    let events = events(&text);
    assert_eq!(names(&left(&events, 11, Fate::Nothing)), ["a", "hello"]);
    assert_eq!(names(&left(&events, 12, Fate::Nothing)), ["a", "hello", "kept/b", "hello"]);
    assert_eq!(names(&left(&events, 12, Fate::Everything)), ["kept/b", "hello"]);
}

#[test]
fn deeds_outside_of_the_root_and_on_removed_files_are_passed_over() {
    let text = r#"7 1.0 openat(AT_FDCWD</>, "/other", O_RDWR|O_CREAT, 0666) = 5</other>
7 1.1 write(5</other>, "x", 1) = 1
7 1.2 write(2<pipe:[3]>, "x", 1) = 1
7 1.3 ftruncate(6</root/a>(deleted), 3) = 0
7 1.4 mkdir("/root/a", 0777) = -1 EEXIST (File exists)
7 1.5 +++ killed by SIGKILL +++
"#;
    assert_eq!(events(text), []);
}

#[test]
fn writes_go_on_where_the_last_one_ended_and_vectors_are_joined() {
    let text = r#"7 1.0 openat(AT_FDCWD</>, "/root/a", O_RDWR|O_CREAT, 0666) = 5</root/a>
7 1.1 writev(5</root/a>, [{iov_base="ab", iov_len=2}, {iov_base="cd", iov_len=2}], 2) = 3
7 1.2 write(5</root/a>, "xyz", 3) = 3
"#;
    let deeds: Vec<_> = events(text).into_iter().map(|event| event.deed).collect();
    let write =
        |at, text: &[u8]| Deed::Write { path: "a".into(), place: Place::At(at), bytes: text.to_vec() };
    assert_eq!(deeds, [Deed::Create("a".into()), write(0, b"abc"), write(3, b"xyz")]);
}

#[test]
fn messages_are_put_together_from_frames_that_came_in_pieces() {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let message = b"\0\0\0\0\x04mess";
    bytes.extend(b"\0\0\0\x04\0\0\0\0\0");
    bytes.extend(b"\0\0\x06\0\0\0\0\0\x03");
    bytes.extend(&message[..6]);
    bytes.extend(b"\0\0\x05\0\x08\0\0\0\x03\x01");
    bytes.extend(&message[6..]);
    bytes.push(0);
    let said: Vec<Event> = bytes
        .chunks(5)
        .enumerate()
        .map(|(at, part)| {
            let deed = Deed::Said { socket: "socket:[1]".into(), bytes: part.to_vec() };
            Event { begin: at, end: at, time: 0.5, deed }
        })
        .collect();
    let found = spoken(&said);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].begin, found[0].message.as_slice()), (said.len() - 1, b"mess".as_slice()));
}
