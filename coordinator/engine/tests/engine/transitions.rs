//! The tables of legal transitions: each pair is here or is an error that names both.

use wavegate_engine::{
    IllegalTransition, LeaseEvent as LE, LeaseState as LS, ReleaseReason, TaskBlock, TaskEvent as TE,
    TaskState as TS,
};

const PENDING: TS = TS::Pending { not_before: None };
const BLOCKED: TS = TS::Blocked(TaskBlock::Held);
const RETURNED: TE = TE::Returned { not_before: None };
const RELEASED: LS = LS::Released(ReleaseReason::Drain);
const SILENT: LS = LS::Unreachable { cancelling: false };
const SILENT_CANCELLING: LS = LS::Unreachable { cancelling: true };

#[test]
fn every_pair_of_lease_state_and_event_is_in_the_table_or_illegal() {
    let release = LE::Released(ReleaseReason::Drain);
    let events = [LE::Started, LE::Silent, LE::Heard, LE::CancelAsked, LE::Finished, release, LE::Lost];
    // In the order of the events; None: illegal.
    let ends = [Some(LS::Finished), Some(RELEASED), Some(LS::Lost)];
    let open = |started, silent, heard, cancel| [started, silent, heard, cancel, ends[0], ends[1], ends[2]];
    let table = [
        (LS::Granted, open(Some(LS::Running), Some(SILENT), None, Some(LS::Cancelling))),
        (LS::Running, open(None, Some(SILENT), None, Some(LS::Cancelling))),
        (LS::Cancelling, open(None, Some(SILENT_CANCELLING), None, None)),
        (SILENT, open(Some(LS::Running), None, Some(LS::Running), Some(SILENT_CANCELLING))),
        (SILENT_CANCELLING, open(Some(LS::Cancelling), None, Some(LS::Cancelling), None)),
        (LS::Finished, [None; 7]),
        (RELEASED, [None; 7]),
        (LS::Lost, [None, None, None, None, Some(LS::Finished), None, None]),
    ];
    for (state, row) in table {
        for (event, expected) in events.into_iter().zip(row) {
            let next = state.next(event);
            assert_eq!(next.ok(), expected, "{state:?} {event:?}");
            if let Err(IllegalTransition { thing, state: named, .. }) = next {
                assert_eq!((thing, named), ("lease", state.name()));
            }
        }
    }
}

#[test]
fn every_pair_of_task_state_and_event_is_in_the_table_or_illegal() {
    let block = TE::Blocked(TaskBlock::Held);
    let events = [TE::Granted, TE::Submitted, TE::Skipped, RETURNED, block, TE::Approved, TE::Cancelled];
    let (submitted, skipped, cancelled) = (Some(TS::Submitted), Some(TS::Skipped), Some(TS::Cancelled));
    let (back, blocked, done) = (Some(PENDING), Some(BLOCKED), Some(TS::Done));
    let table = [
        (PENDING, [Some(TS::Leased), submitted, skipped, None, None, None, cancelled]),
        (TS::Leased, [None, submitted, skipped, back, blocked, None, cancelled]),
        (TS::Submitted, [None, None, None, back, blocked, done, cancelled]),
        (BLOCKED, [None, submitted, skipped, back, None, None, cancelled]),
        (TS::Done, [None; 7]),
        (TS::Skipped, [None; 7]),
        (TS::Cancelled, [None; 7]),
    ];
    for (state, row) in table {
        for (event, expected) in events.into_iter().zip(row) {
            let next = state.next(event);
            assert_eq!(next.ok(), expected, "{state:?} {event:?}");
            if let Err(IllegalTransition { thing, state: named, .. }) = next {
                assert_eq!((thing, named), ("task", state.name()));
            }
        }
    }
}

#[test]
fn an_executor_reaches_submitted_at_most() {
    assert!(TS::Leased.next(TE::Approved).is_err());
    let error = TS::Done.next(TE::Granted).expect_err("it is final");
    assert_eq!(error.to_string(), "a done task cannot be granted");
}
