//! What signatures cost: on a digest, and on a result as nodes sign it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use resultity_core::canonical::sha256;
use resultity_core::clock::SeededEntropy;
use resultity_core::environment::Environment;
use resultity_core::signing::{Domain, Keypair, ResultData, TypedData};

fn signing(criterion: &mut Criterion) {
    let key = Keypair::generate(&SeededEntropy::new(1));
    let public = key.public_key();
    let digest = sha256("digest");
    let signature = key.sign(digest);
    let mut group = criterion.benchmark_group("signing");
    group.bench_function("sign", |b| b.iter(|| key.sign(black_box(digest))));
    group.bench_function("verify", |b| b.iter(|| public.verify(black_box(digest), &signature)));
    group.bench_function("recover", |b| b.iter(|| signature.recover(black_box(digest))));

    let domain = Domain::new(Environment::Testnet, key.address());
    let result = ResultData {
        nodeId: key.address(),
        jobId: "019ab1c2-0000-7000-8000-000000000001".into(),
        attempt: 1,
        leaseToken: "019ab1c2-0000-7000-8000-000000000002".into(),
        requestHash: digest,
        transcriptHash: digest,
        outputHash: digest,
        promptTokens: 20,
        completionTokens: 64,
        finishReason: "stop".into(),
        outcome: "complete".into(),
    };
    group.bench_function("typed-data hash", |b| {
        b.iter(|| black_box(&result).signing_hash(&domain));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).without_plots();
    targets = signing
}
criterion_main!(benches);
