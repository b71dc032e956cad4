//! What reading and writing the frames of the node link costs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use resultity_core::canonical::sha256;
use resultity_core::clock::{ManualClock, SeededEntropy, Timestamp};
use resultity_core::id::{JobId, LeaseToken};
use resultity_core::job::{Attempt, JobKind};
use resultity_core::signing::{Keypair, Outcome};
use resultity_core::wire::{Chunk, Job, JobResult, NodeFrame, ServerFrame, Timings};
use serde_json::value::RawValue;

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("the text is JSON")
}

fn wire(criterion: &mut Criterion) {
    let (clock, entropy) = (
        ManualClock::new(Timestamp::from_millis(1_763_800_000_000)),
        SeededEntropy::new(1),
    );
    let (job_id, lease_token) = (JobId::new(&clock, &entropy), LeaseToken::new(&clock, &entropy));
    let key = Keypair::generate(&entropy);
    let hash = sha256("x");
    let job = ServerFrame::from(Job {
        job_id,
        attempt: Attempt::FIRST,
        lease_token,
        deadline: Timestamp::from_millis(1_763_800_060_000),
        kind: JobKind::ChatCompletion,
        model: "smollm2-135m".into(),
        model_digest: None,
        stream: true,
        body: raw(
            r#"{"model":"smollm2-135m","messages":[{"role":"user","content":"What is the capital of France?"}]}"#,
        ),
    });
    let delta = r#"[{"index":0,"delta":{"content":" the"},"logprobs":null,"finish_reason":null}]"#;
    let chunk = NodeFrame::from(Chunk {
        job_id,
        attempt: Attempt::FIRST,
        index: 17,
        delta: raw(delta),
    });
    let output = r#"[{"index":0,"message":{"role":"assistant","content":"Paris."},"finish_reason":"stop"}]"#;
    let result = NodeFrame::from(JobResult {
        node_id: key.node_id(),
        job_id,
        attempt: Attempt::FIRST,
        lease_token,
        request_hash: hash,
        transcript_hash: hash,
        output_hash: hash,
        prompt_tokens: 20,
        completion_tokens: 3,
        finish_reason: "stop".into(),
        outcome: Outcome::Complete,
        output: Some(raw(output)),
        timings: Timings::default(),
        signature: key.sign(hash),
    });
    let mut group = criterion.benchmark_group("wire");
    let text = job.encode();
    group.bench_function("encode job", |b| b.iter(|| black_box(&job).encode()));
    group.bench_function("parse job", |b| b.iter(|| ServerFrame::parse(black_box(&text))));
    for (name, frame) in [("chunk", chunk), ("result", result)] {
        let text = frame.encode();
        group.bench_function(format!("encode {name}"), |b| b.iter(|| black_box(&frame).encode()));
        group.bench_function(format!("parse {name}"), |b| {
            b.iter(|| NodeFrame::parse(black_box(&text)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).without_plots();
    targets = wire
}
criterion_main!(benches);
