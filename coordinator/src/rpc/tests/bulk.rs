//! Artifacts and logs on the wire.

use tokio_stream::StreamExt as _;
use tonic::Code;
use wavegate_proto::{BULK_CHUNK_BYTES, v1};

use super::{Bench, chunks_of, digest_of, until, within};

const LEASE: &str = "00112233445566778899aabbccddeeff";

#[tokio::test]
async fn an_artifact_of_many_chunks_comes_back_as_it_went() {
    let bench = Bench::start().await;
    let bytes: Vec<u8> = (0..3 * BULK_CHUNK_BYTES + 7).map(|at| at as u8).collect();
    let digest = digest_of(&bytes);
    assert!(bench.is_missing(&digest).await);
    bench.upload(&bytes).await;
    assert!(!bench.is_missing(&digest).await);
    assert_eq!(bench.download(&digest).await.unwrap(), bytes);
}

#[tokio::test]
async fn several_artifacts_in_one_stream_are_all_stored() {
    let bench = Bench::start().await;
    let artifacts: [&[u8]; 3] = [b"one", &[7; BULK_CHUNK_BYTES + 1], b"three"];
    let mut chunks: Vec<_> = artifacts.iter().flat_map(|bytes| chunks_of(bytes)).collect();
    // One of no bytes has one chunk, too.
    chunks.push(v1::UploadRequest { digest: digest_of(b""), ..Default::default() });
    let uploaded = bench.bulk().upload(tokio_stream::iter(chunks)).await.unwrap().into_inner();
    assert_eq!(uploaded.stored, 4);
    for bytes in artifacts.into_iter().chain([b"".as_slice()]) {
        assert_eq!(bench.download(&digest_of(bytes)).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn bytes_that_are_not_what_was_announced_are_not_stored() {
    let bench = Bench::start().await;
    let digest = digest_of(b"right");
    let chunk =
        |size: u64, data: &[u8]| v1::UploadRequest { digest: digest.clone(), size, data: data.to_vec() };
    let cases = [
        ("other bytes", chunk(5, b"wrong")),
        ("too few", chunk(6, b"right")),
        ("too many", chunk(4, b"right")),
        ("far too few", chunk(u64::MAX, b"right")),
        ("no digest", v1::UploadRequest { digest: "?".to_owned(), size: 5, data: b"right".to_vec() }),
        ("a nameless one", v1::UploadRequest { digest: String::new(), size: 5, data: b"right".to_vec() }),
        ("a nameless one without end", v1::UploadRequest { size: u64::MAX, ..Default::default() }),
        ("a large chunk", chunk(BULK_CHUNK_BYTES as u64 + 1, &[0; BULK_CHUNK_BYTES + 1])),
    ];
    for (what, chunk) in cases {
        let refused = within(what, bench.bulk().upload(tokio_stream::iter([chunk]))).await;
        let refused = refused.expect_err(what);
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");
        assert!(bench.is_missing(&digest).await, "{what} was stored");
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_stores_nothing_of_its_artifact() {
    let bench = Bench::start().await;
    let bytes = vec![1; 2 * BULK_CHUNK_BYTES];
    let first = chunks_of(&bytes).remove(0);
    let whole = chunks_of(b"whole").remove(0);
    let half = tokio_stream::iter([whole, first]).chain(tokio_stream::pending());
    let mut client = bench.bulk();
    let uploading = tokio::spawn(async move { client.upload(half).await });
    let incoming = || {
        let folder = std::fs::read_dir(bench.running.files().folder().join("artifacts")).unwrap();
        folder.flatten().filter(|it| it.file_name().to_string_lossy().starts_with("incoming-")).count()
    };
    let whole = digest_of(b"whole");
    until("the second to begin", || async { !bench.is_missing(&whole).await && incoming() == 1 }).await;
    uploading.abort();
    until("the half to be removed", || async { incoming() == 0 }).await;
    assert!(bench.is_missing(&digest_of(&bytes)).await);
    assert_eq!(bench.download(&whole).await.unwrap(), b"whole");
}

#[tokio::test]
async fn find_missing_names_just_what_is_missing() {
    let bench = Bench::start().await;
    let here = bench.upload(b"here").await;
    let gone = digest_of(b"gone");
    let request = v1::FindMissingRequest { digests: vec![here, gone.clone()] };
    assert_eq!(bench.bulk().find_missing(request).await.unwrap().into_inner().missing, [gone]);
    for digests in [vec!["../../token".to_owned()], vec![digest_of(b""); 10_001]] {
        let refused = bench.bulk().find_missing(v1::FindMissingRequest { digests }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

#[tokio::test]
async fn what_is_not_there_cannot_be_downloaded() {
    let bench = Bench::start().await;
    assert_eq!(bench.download(&digest_of(b"?")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(bench.download("../../token").await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_log_answers_overlap_and_gap_with_its_length() {
    let bench = Bench::start().await;
    let piece = |offset: u64, data: &[u8]| v1::AppendLogRequest {
        lease_id: LEASE.to_owned(),
        offset,
        data: data.to_vec(),
    };
    let cases = [
        (piece(0, b"hello"), 5),
        (piece(3, b"lo world"), 11),
        (piece(0, b"hello"), 11),
        (piece(20, b"far"), 11),
        (piece(11, b"!"), 12),
        (piece(u64::MAX, b"farther"), 12),
    ];
    let (pieces, lengths): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let mut answers = bench.bulk().append_log(tokio_stream::iter(pieces)).await.unwrap().into_inner();
    for length in lengths {
        let answer = within("an answer", answers.message()).await.unwrap().unwrap();
        assert_eq!((answer.lease_id.as_str(), answer.length), (LEASE, length));
    }
    assert!(within("the end", answers.message()).await.unwrap().is_none());
    let stored =
        std::fs::read(bench.running.files().folder().join("logs").join(format!("{LEASE}.log"))).unwrap();
    assert_eq!(stored, b"hello world!");
}

#[tokio::test]
async fn a_log_of_no_lease_is_refused() {
    let bench = Bench::start().await;
    let wrong = [
        v1::AppendLogRequest { lease_id: "../x".to_owned(), ..Default::default() },
        v1::AppendLogRequest { lease_id: LEASE.to_owned(), offset: 0, data: vec![0; BULK_CHUNK_BYTES + 1] },
    ];
    for piece in wrong {
        let mut answers = bench.bulk().append_log(tokio_stream::iter([piece])).await.unwrap().into_inner();
        let refused = within("an answer", answers.message()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}
