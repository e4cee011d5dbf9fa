//! Logs: pieces may come twice, overlap or be missing.

use proptest::prelude::*;
use wavegate_engine::LeaseId;

use crate::store::logs::Logs;

const LEASE: LeaseId = LeaseId(7);

fn logs() -> (Logs, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Logs::open(folder.path()).unwrap(), folder)
}

#[test]
fn pieces_that_overlap_are_trimmed_and_gaps_are_answered_by_where_to_go_on() {
    let (logs, _folder) = logs();
    assert_eq!(logs.length(LEASE), 0);
    assert_eq!(logs.append(LEASE, 0, b"hello").unwrap(), 5);
    assert_eq!(logs.append(LEASE, 0, b"hello").unwrap(), 5);
    assert_eq!(logs.append(LEASE, 3, b"lo wor").unwrap(), 9);
    assert_eq!(logs.append(LEASE, 12, b"!").unwrap(), 9);
    assert_eq!(logs.append(LEASE, u64::MAX, b"!").unwrap(), 9);
    assert_eq!(logs.append(LEASE, 9, b"ld").unwrap(), 11);
    assert_eq!(logs.append(LEASE, 11, b"").unwrap(), 11);
    assert_eq!(logs.read(LEASE, 0, 100).unwrap(), b"hello world");
    assert_eq!(logs.read(LEASE, 6, 3).unwrap(), b"wor");
    assert_eq!(logs.read(LEASE, 100, 3).unwrap(), b"");
    assert_eq!(logs.read(LeaseId(8), 0, 3).unwrap(), b"");
}

#[test]
fn two_writers_of_one_log_leave_each_byte_once() {
    let (logs, _folder) = logs();
    let text: Vec<u8> = (0..1000_u32).map(|at| (at % 251) as u8).collect();
    std::thread::scope(|scope| {
        for step in [7, 13] {
            let (logs, text) = (logs.clone(), &text);
            scope.spawn(move || {
                let mut at = 0;
                while at < text.len() {
                    let end = (at + step).min(text.len());
                    at = usize::try_from(logs.append(LEASE, at as u64, &text[at..end]).unwrap()).unwrap();
                }
            });
        }
    });
    assert_eq!(logs.read(LEASE, 0, 10_000).unwrap(), text);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pieces of one text, in any order and any size: what is stored is its beginning.
    #[test]
    fn what_is_stored_is_always_a_beginning_of_the_text(
        pieces in prop::collection::vec((0_usize..100, 0_usize..50), 0..20)
    ) {
        let text: Vec<u8> = (0..150).collect();
        let (logs, _folder) = logs();
        for (from, size) in pieces {
            let before = logs.length(LEASE);
            let length = logs.append(LEASE, from as u64, &text[from..from + size]).unwrap();
            let expected = if from as u64 <= before { before.max((from + size) as u64) } else { before };
            prop_assert_eq!(length, expected);
            let stored = logs.read(LEASE, 0, 1000).unwrap();
            prop_assert_eq!(&stored[..], &text[..stored.len()]);
            prop_assert_eq!(stored.len() as u64, length);
        }
    }
}
