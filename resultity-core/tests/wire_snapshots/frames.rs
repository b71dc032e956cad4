//! One of every frame, with fixed values.

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::{JobId, LeaseToken, NodeId, SessionId};
use resultity_core::job::{Attempt, JobKind};
use resultity_core::model::ModelState;
use resultity_core::signing::{Outcome, Signature};
use resultity_core::wire::{
    Accept, Ack, AckOutcome, Cancel, CancelReason, Challenge, Chunk, Config, Control, ControlAction, Decline,
    DeclineCode, EngineInfo, ErrorFrame, Failed, FailureCode, Gpu, Hardware, Heartbeat, HeartbeatAck, Hello, Job,
    JobResult, LeaseView, Load, LogBatch, LogField, LogLevel, LogLine, NodeFrame, NodeModel, Notice, Reject,
    RejectCode, Renewal, Resume, RunningJob, RuntimeInfo, ServerFrame, Timings, Welcome,
};
use resultity_core::{Address, B256};
use serde_json::value::RawValue;

pub(crate) const JOB: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
pub(crate) const SESSION: &str = "01890a5d-ac96-774b-bcce-b302099a8058";
pub(crate) const LEASE: &str = "01890a5d-ac96-774b-bcce-b302099a8059";

/// Odd white space, numbers that no float holds, escapes that need none: all of it has to arrive as it is.
pub(crate) const ODD: &str =
    r#"{ "b" :[ 1e400,-0.0 ,123456789012345678901234567890],  "a":"\u00e9\/\n", "type":"x","a":null }"#;

pub(crate) fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

pub(crate) fn job_id() -> JobId {
    JOB.parse().unwrap()
}

pub(crate) fn session_id() -> SessionId {
    SESSION.parse().unwrap()
}

pub(crate) fn lease_token() -> LeaseToken {
    LEASE.parse().unwrap()
}

pub(crate) fn node_id() -> NodeId {
    NodeId::from_address(Address::repeat_byte(0xab))
}

pub(crate) fn signature() -> Signature {
    Signature::from_bytes([0x1b; 65])
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

pub(crate) fn attempt(number: u32) -> Attempt {
    Attempt::new(number).unwrap()
}

/// Every frame that the network sends, with all optional fields, and without any where that differs.
pub(crate) fn server_frames() -> Vec<ServerFrame> {
    vec![
        Challenge {
            session_id: session_id(),
            nonce: B256::repeat_byte(1),
            server_time: at(0),
            environment: Environment::Testnet,
            network_key: Address::repeat_byte(2),
            genesis: Address::repeat_byte(3),
            min_agent_version: "0.1.0".into(),
        }
        .into(),
        Welcome {
            heartbeat_interval_ms: 10_000,
            config_digest: B256::repeat_byte(4),
            bound: true,
            state: "active".into(),
            leases: vec![LeaseView {
                job_id: job_id(),
                attempt: Attempt::FIRST,
                deadline: at(60_000),
            }],
        }
        .into(),
        Reject {
            code: RejectCode::ClockSkew,
            message: "set the clock".into(),
            retry_after_ms: Some(5_000),
        }
        .into(),
        Reject {
            code: RejectCode::Banned,
            message: "no".into(),
            retry_after_ms: None,
        }
        .into(),
        Job {
            job_id: job_id(),
            attempt: attempt(2),
            lease_token: lease_token(),
            deadline: at(600_000),
            kind: JobKind::ChatCompletion,
            model: "demo".into(),
            model_digest: Some("ab".repeat(32)),
            stream: true,
            body: raw(ODD),
        }
        .into(),
        Job {
            job_id: job_id(),
            attempt: Attempt::FIRST,
            lease_token: lease_token(),
            deadline: at(600_000),
            kind: JobKind::ChatCompletion,
            model: "org/external".into(),
            model_digest: None,
            stream: false,
            body: raw(r#"{"model":"org/external","messages":[{"role":"user","content":"hi"}]}"#),
        }
        .into(),
        Ack {
            job_id: job_id(),
            attempt: Attempt::FIRST,
            outcome: AckOutcome::Recorded,
        }
        .into(),
        Ack {
            job_id: job_id(),
            attempt: Attempt::FIRST,
            outcome: AckOutcome::Superseded,
        }
        .into(),
        Cancel {
            job_id: job_id(),
            attempt: Attempt::FIRST,
            reason: CancelReason::ClientGone,
        }
        .into(),
        HeartbeatAck {
            server_time: at(0),
            config_digest: B256::repeat_byte(4),
            renewed: vec![Renewal {
                job_id: job_id(),
                attempt: Attempt::FIRST,
                deadline: at(60_000),
            }],
            acks: Vec::new(),
        }
        .into(),
        Config {
            digest: B256::repeat_byte(5),
        }
        .into(),
        Control {
            node_id: node_id(),
            session_id: session_id(),
            action: ControlAction::RestartRuntime,
            nonce: B256::repeat_byte(6),
            expires_at: at(60_000),
            signature: signature(),
        }
        .into(),
        Notice {
            code: "penalty".into(),
            message: "wrong answers".into(),
            state: Some("excluded".into()),
            until: Some(at(3_600_000)),
        }
        .into(),
        Notice {
            code: "state".into(),
            message: "the node may get jobs".into(),
            state: None,
            until: None,
        }
        .into(),
        ErrorFrame {
            code: "unknown_type".into(),
            message: "\"x\"".into(),
            frame: Some("x".into()),
        }
        .into(),
    ]
}

pub(crate) fn models() -> Vec<NodeModel> {
    vec![
        NodeModel {
            id: "demo".into(),
            version: "1".into(),
            digest: Some("ab".repeat(32)),
            state: ModelState::Active,
            engine: Some(EngineInfo {
                name: "llama-server".into(),
                version: "b4567".into(),
            }),
        },
        NodeModel {
            id: "org/external".into(),
            version: "1".into(),
            digest: None,
            state: ModelState::Pending,
            engine: None,
        },
    ]
}

pub(crate) fn hardware() -> Hardware {
    Hardware {
        cpu: "CPU".into(),
        cpu_cores: 8,
        memory: 16 << 30,
        memory_used: 1 << 30,
        gpus: vec![Gpu {
            name: "GPU".into(),
            memory: 8 << 30,
        }],
    }
}

pub(crate) fn hello() -> Hello {
    Hello {
        node_id: node_id(),
        agent_version: "0.1.0".into(),
        environment: Environment::Testnet,
        runtime: RuntimeInfo {
            kind: "openai".into(),
            version: "1".into(),
            healthy: true,
        },
        models: models(),
        hardware: hardware(),
        region: Some("eu".into()),
        max_concurrency: 4,
        paused: false,
        config_digest: Some(B256::repeat_byte(4)),
        resume: Some(Resume {
            session_id: session_id(),
            journal: vec![(job_id(), attempt(2))],
            more: false,
        }),
        issued_at: at(0),
        signature: Some(signature()),
    }
}

pub(crate) fn heartbeat() -> Heartbeat {
    Heartbeat {
        seq: 1,
        issued_at: at(0),
        load: Load {
            running: 1,
            queued: 2,
            slots: 4,
        },
        running: vec![RunningJob {
            job_id: job_id(),
            attempt: Attempt::FIRST,
        }],
        models: models(),
        runtime: RuntimeInfo {
            kind: "embedded".into(),
            version: "1".into(),
            healthy: false,
        },
        hardware: hardware(),
        config_digest: Some(B256::repeat_byte(4)),
        signature: Some(signature()),
    }
}

pub(crate) fn result(output: Option<&str>) -> JobResult {
    JobResult {
        node_id: node_id(),
        job_id: job_id(),
        attempt: Attempt::FIRST,
        lease_token: lease_token(),
        request_hash: B256::repeat_byte(6),
        transcript_hash: B256::repeat_byte(7),
        output_hash: B256::repeat_byte(8),
        prompt_tokens: 10,
        completion_tokens: 20,
        finish_reason: "stop".into(),
        outcome: if output.is_some() {
            Outcome::Complete
        } else {
            Outcome::Partial
        },
        output: output.map(raw),
        timings: Timings {
            first_output_ms: 30,
            total_ms: 40,
        },
        signature: signature(),
    }
}

/// Every frame that a node sends, with all optional fields, and without any where that differs.
pub(crate) fn node_frames() -> Vec<NodeFrame> {
    let bare_hello = Hello {
        region: None,
        config_digest: None,
        resume: None,
        signature: None,
        ..hello()
    };
    vec![
        hello().into(),
        bare_hello.into(),
        Accept {
            job_id: job_id(),
            attempt: Attempt::FIRST,
            lease_token: lease_token(),
        }
        .into(),
        Decline {
            job_id: job_id(),
            attempt: Attempt::FIRST,
            lease_token: lease_token(),
            code: DeclineCode::ModelMissing,
        }
        .into(),
        Chunk {
            job_id: job_id(),
            attempt: Attempt::FIRST,
            index: 0,
            delta: raw(r#"[{"index":0,"delta":{"content":"é"}}]"#),
        }
        .into(),
        result(Some(ODD)).into(),
        result(None).into(),
        Failed {
            node_id: node_id(),
            job_id: job_id(),
            attempt: Attempt::FIRST,
            lease_token: lease_token(),
            code: FailureCode::EngineUnavailable,
            message: "the engine does not answer".into(),
            param: None,
            retryable: true,
            signature: signature(),
        }
        .into(),
        Failed {
            node_id: node_id(),
            job_id: job_id(),
            attempt: Attempt::FIRST,
            lease_token: lease_token(),
            code: FailureCode::InvalidRequest,
            message: "top_k: the engine does not support it".into(),
            param: Some("top_k".into()),
            retryable: false,
            signature: signature(),
        }
        .into(),
        heartbeat().into(),
        LogBatch {
            seq: 3,
            issued_at: Timestamp::from_millis(1_700_000_000_000),
            lines: vec![
                LogLine {
                    time: Timestamp::from_millis(1_700_000_000_000),
                    level: LogLevel::Warn,
                    job_id: Some(job_id()),
                    message: "a job failed".into(),
                    fields: [
                        ("code".to_owned(), LogField::from("engine_failed")),
                        ("duration_ms".to_owned(), LogField::from(12_u64)),
                        ("retried".to_owned(), LogField::Flag(true)),
                    ]
                    .into(),
                },
                LogLine {
                    time: Timestamp::from_millis(1_700_000_000_000),
                    level: LogLevel::Info,
                    job_id: None,
                    message: "the Runtime works".into(),
                    fields: std::collections::BTreeMap::new(),
                },
            ],
            signature: Some(signature()),
        }
        .into(),
        ErrorFrame {
            code: "unknown_type".into(),
            message: "m".into(),
            frame: None,
        }
        .into(),
    ]
}
