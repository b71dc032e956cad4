//! The network as an asker of its own: an account that nobody can sign in to, whose jobs go the same way as all others. So a
//! node can't know them by their frame, ids, timing or pay, and its owner not by statistics or history.
//!
//! They are paid from the network's fees; what those lack comes from issuance in testnet, and from nowhere in mainnet.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use resultity_core::B256;
use resultity_core::credits::Credits;
use resultity_core::id::{AccountId, JobId, KeyId, NamespaceId, NodeId};
use resultity_core::job::{Endpoint, JobKind};
use tokio::sync::{mpsc, oneshot};

use super::Finished;
use crate::flow::job::{JobTask, NewTask, Origin};
use crate::flow::validate::ValidJob;
use crate::flow::{EVENT_QUEUE, Flow, Principal};
use crate::store::trust::FundChecks;
use crate::store::{KeyLimits, NewTenant, StoreError};

/// The account's name. Accounts of people are named by their ids, and the shell makes none with this name.
pub const ACCOUNT: &str = "network";

/// The namespace's name.
const NAMESPACE: &str = "checks";

/// What the namespace is filled up to.
const FUNDS: Credits = Credits::from_whole(10);

/// How long an answer may take, with the time in the queue.
const PATIENCE: Duration = Duration::from_mins(3);

/// Has this node answer a request of the network. None: it did not, for whatever reason. It is told by nothing whose it is.
pub(super) async fn ask(flow: &Arc<Flow>, node: NodeId, request: ValidJob) -> Option<Finished> {
    let principal = match principal(flow, request.ceiling).await {
        Ok(principal) => principal?,
        Err(error) => {
            tracing::warn!(%error, "the network can't ask for itself");
            return None;
        }
    };
    let endpoint = match request.kind {
        JobKind::ChatCompletion => Endpoint::ChatCompletions,
        JobKind::Completion => Endpoint::Completions,
        JobKind::Embedding => Endpoint::Embeddings,
        _ => return None,
    };
    let mut request = request;
    request.node_share = Some(flow.snapshot().jobs.node_share);
    let room = flow.take_room(principal.namespace, &request, false).ok()?;
    let id = JobId::new(&*flow.clock, &*flow.entropy);
    let (sender, mut events) = mpsc::channel(EVENT_QUEUE);
    let new = NewTask {
        id,
        principal,
        endpoint,
        request,
        created: flow.clock.now(),
        events: sender,
        payload: None,
        accepted: None,
        origin: Origin::Asked,
    };
    let awaited = Awaited::new(flow, id);
    let mut task = JobTask::new(Arc::clone(flow), new);
    let others = flow.fleet.all().into_iter().map(|view| view.node);
    task.excluded = others.filter(|other| *other != node).collect::<HashSet<_>>();
    let cut = flow.cut.clone();
    flow.tasks.spawn(async move {
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            () = task.run() => {}
        }
        drop(room);
    });
    // As any asker would: it reads what comes, until the end.
    let read = async { while events.recv().await.is_some() {} };
    tokio::time::timeout(PATIENCE, read).await.ok()?;
    let answered = awaited.taken()?;
    // One that joined in between may have got it: then it is not what was asked for.
    (answered.node == node).then_some(answered)
}

/// A job of the network whose answer somebody waits for; forgotten when this is dropped.
struct Awaited<'a> {
    flow: &'a Flow,
    job: JobId,
    answer: oneshot::Receiver<Box<Finished>>,
}

impl<'a> Awaited<'a> {
    fn new(flow: &'a Flow, job: JobId) -> Self {
        let (sender, answer) = oneshot::channel();
        let mut awaited = flow.checks.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.insert(job, sender);
        Self { flow, job, answer }
    }

    fn taken(mut self) -> Option<Finished> {
        self.answer.try_recv().ok().map(|finished| *finished)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut awaited = self.flow.checks.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.remove(&self.job);
    }
}

/// Who asks, with enough to pay for this. None: there is not enough.
async fn principal(flow: &Flow, ceiling: Credits) -> Result<Option<Principal>, StoreError> {
    let principal = if let Some(known) = flow.checks.asker.get() {
        known.clone()
    } else {
        let made = made(flow).await?;
        flow.checks.asker.get_or_init(|| made).clone()
    };
    let fund = FundChecks {
        namespace: principal.namespace,
        environment: flow.environment,
        at_least: ceiling,
        up_to: FUNDS.max(ceiling),
        now: flow.clock.now(),
    };
    let available = flow.store.fund_checks(fund).await?;
    Ok((available >= ceiling).then_some(principal))
}

/// The account, its namespace and a key. No text has the key's hash, so nobody can use it.
async fn made(flow: &Flow) -> Result<Principal, StoreError> {
    let (clock, entropy) = (&*flow.clock, &*flow.entropy);
    let tenant = NewTenant {
        account: AccountId::new(clock, entropy),
        account_name: ACCOUNT.to_owned(),
        namespace: NamespaceId::new(clock, entropy),
        namespace_name: NAMESPACE.to_owned(),
        environment: flow.environment,
        key: KeyId::new(clock, entropy),
        key_hash: B256::with_last_byte(flow.environment as u8 + 1),
        key_label: NAMESPACE.to_owned(),
        key_hint: String::new(),
        key_limits: KeyLimits::default(),
        now: clock.now(),
    };
    let key = flow.store.ensure_tenant(tenant).await?;
    Ok(key.into())
}
