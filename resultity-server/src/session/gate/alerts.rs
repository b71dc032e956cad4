//! Letters to those whose namespaces have little left. That there is one to write is in the store, with what caused it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Gate;
use crate::mail::Letter;
use crate::store::funds::LowCredits;

/// How many letters are taken at once.
const AT_ONCE: u32 = 50;

/// How often it is looked for letters without being told, such as those of another process.
const PAUSE: Duration = Duration::from_mins(5);

/// Writes letters until it is told to stop. Without mail there is nothing to do: a notification tells the same.
pub async fn write_alerts(gate: Arc<Gate>, stop: CancellationToken) {
    if !gate.mail.is_open() {
        return;
    }
    let mut changes = gate.store.low_credits_changes();
    loop {
        changes.borrow_and_update();
        match gate.store.take_low_credits(AT_ONCE, gate.clock.now()).await {
            Ok(letters) => {
                let is_all = letters.len() < AT_ONCE as usize;
                for low in letters {
                    if let Err(error) = gate.mail.post(&letter(&low)) {
                        tracing::warn!(%error, namespace.id = %low.namespace, "a letter about low credits was not sent");
                    }
                }
                if !is_all {
                    continue;
                }
            }
            Err(error) => tracing::warn!(%error, "letters about low credits could not be looked for"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

fn letter(low: &LowCredits) -> Letter {
    let LowCredits {
        email,
        name,
        environment,
        below,
        total,
        ..
    } = low;
    Letter {
        to: email.clone(),
        subject: format!("Resultity: {name} has few credits left"),
        text: format!(
            "The namespace {name} ({environment}) has {total} credits, which is less than the {below} that you set.\n\n\
             When it has none, its requests are refused. Add credits, or change the limit in your account.\n"
        ),
    }
}
