//! Commands that print without end, and uploads that stand still. Promised: a log ends at its limit with a line that
//! says so, the command goes on to its own end, heartbeats go on, and what others print is kept whole.

use wavegate_proto::v1;
use wavegate_tests::bounds::{Site, peak_bytes};

use super::{MIB, expect_peak, home};

/// Far more than the limit of a log, which is 1 MiB here and 64 MiB by default (`--log-limit`).
const FLOOD: &str = "head -c 300000000 /dev/zero | tr '\\0' x; echo the end of the flood >&2";
const LINES: usize = 2_000;

#[test]
fn a_flood_of_output_is_cut_in_words_and_the_logs_of_others_are_whole() {
    let home = home();
    let serve = home.serve("127.0.0.1:0").unwrap();
    let url = home.read("wavegate.db.d/address");
    let flags = ["--coordinator", url.trim(), "--slots", "4", "--log-limit", "1MiB"];
    let worker = home.worker("w", &flags).unwrap();
    let quiet = format!("seq 1 {LINES}");
    let plan = format!(
        "name: flood\nproject: {{ workspace: none }}\nwaves:\n  - id: W1\n    tasks:\n      \
         - {{ id: T1, run: {FLOOD:?}, verify: [\"true\"] }}\n      \
         - {{ id: T2, run: {FLOOD:?}, verify: [\"true\"] }}\n      \
         - {{ id: T3, run: {quiet:?}, verify: [\"true\"] }}\n      \
         - {{ id: T4, run: {quiet:?}, verify: [\"true\"] }}\n"
    );
    let plan = home.write("flood.yaml", &plan).unwrap();
    assert_eq!(home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0), "{}", home.dump());
    assert_eq!(home.run(&["approve", "flood", "--mode", "max"]).unwrap().code, Some(0), "{}", home.dump());
    home.wait_for_status("flood", "done");

    let log = |task: &str| home.run(&["logs", "flood", task]).unwrap().stdout;
    for task in ["T1", "T2"] {
        let flood = log(task);
        assert!(flood.len() as u64 <= MIB + 200, "{} bytes", flood.len());
        let last = flood.trim_end().lines().next_back().unwrap_or_default();
        assert!(last.contains("the output is cut here, at 1 MiB"), "{:?}", &last[..last.len().min(200)]);
    }
    for task in ["T3", "T4"] {
        assert_eq!(log(task).lines().filter(|line| line.parse::<usize>().is_ok()).count(), LINES);
    }
    let events =
        |kind: &str| home.count(&format!("SELECT count(*) FROM wg_events WHERE kind = '{kind}'")).unwrap();
    assert_eq!(
        events("lease_unreachable") + events("lease_lost") + events("worker_gone"),
        0,
        "{}",
        home.dump()
    );
    expect_peak("the coordinator behind a flood", serve.id(), 100);
    let held = peak_bytes(worker.id()) / MIB;
    assert!(held > 0 && held <= 60, "the worker held {held} MiB at once");
}

/// Each connection may have its calls, the coordinator its uploads: those that stand still do not stop an artifact
/// on another connection from coming in while places are left, and one too many is refused in words.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_stand_still_are_refused_in_words_beyond_the_most() {
    let home = home();
    let serve = home.serve("127.0.0.1:0").unwrap();
    let site = Site::of(&home).unwrap();
    let (chunk, size) = (vec![0; 128 * 1024], 1 << 30);
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    for connection in 0..2 {
        let channel = site.connect().await.unwrap();
        for number in 0..80 {
            let digest = format!("{:064x}", connection * 1000 + number);
            let first = v1::UploadRequest { digest, size, data: chunk.clone() };
            let (mut bulk, answers) = (site.bulk(&channel), answers.clone());
            tokio::spawn(async move {
                let chunks =
                    tokio_stream::StreamExt::chain(tokio_stream::iter([first]), tokio_stream::pending());
                let refused = bulk.upload(chunks).await.unwrap_err();
                // Nobody waits for those that are told when the coordinator ends.
                let _ = answers.send(refused);
            });
        }
    }
    for _ in 0..160 - 128 {
        let refused = super::within(wavegate_tests::LONG, "a refusal", &home, answered.recv()).await.unwrap();
        assert_eq!(refused.code(), tonic::Code::Unavailable);
        assert!(refused.message().contains("128 uploads are under way"), "{refused}");
    }
    expect_peak("behind uploads that stand still", serve.id(), 120);
    let channel = site.connect().await.unwrap();
    let worker = site.worker(&channel, "w", 5, &[]).await.unwrap();
    tokio::spawn(worker.work(std::time::Duration::from_millis(100)));
    super::another_plan_ends(&site, &home, "other").await;
}
