//! `/gate/v1/admin`: audit log, intake, queues, dead letters, overview, accounts.

use resultity_core::api::gate::{
    AccountsQuery, AdminAccount, AuditLine, AuditQuery, ChangeAccount, DeadLetter, DeadLetterAction, DeadLetterDropped,
    DeadLetterQuery, InEnvironment, Intake, JobWhy, Overview, QueueHealth, Requeued, SetIntake,
};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

fn operation(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, path, "Gate: administration", id, summary).access(Access::Administrator)
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(Get, "/gate/v1/admin/audit", "listAuditLog", "Read the audit log")
            .about("Who with power did what, and why. Nothing of it is ever changed or deleted.")
            .query::<AuditQuery>()
            .gives_page::<AuditLine>("A page of it."),
        operation(Get, "/gate/v1/admin/intake", "getIntake", "See whether new jobs are taken")
            .query::<InEnvironment>()
            .gives::<Intake>("How it is.")
            .of_one(),
        operation(Post, "/gate/v1/admin/intake", "setIntake", "Stop or reopen the intake of new jobs")
            .about(
                "It counts at once, and over restarts. New jobs are refused with 503 and `Retry-After`; jobs under way go on to \
                 their end, batches wait.",
            )
            .takes::<SetIntake>()
            .gives::<Intake>("How it is now.")
            .of_one(),
        operation(Get, "/gate/v1/admin/queue", "getQueueHealth", "See how the queues are doing")
            .query::<InEnvironment>()
            .gives::<QueueHealth>("Depth, age, what runs, what ended.")
            .of_one(),
        operation(Get, "/gate/v1/admin/jobs/{job}/why", "getJobWhy", "See why a job went to a node, or to none")
            .about("Of jobs that wait or run, and of the last 16 384 decisions. Only administrators see it: it names nodes.")
            .query::<InEnvironment>()
            .gives::<JobWhy>("Where it is, and what was decided.")
            .of_one(),
        operation(Get, "/gate/v1/admin/overview", "getOverview", "See an environment at a glance")
            .query::<InEnvironment>()
            .gives::<Overview>("All of it.")
            .of_one(),
        operation(Get, "/gate/v1/admin/dead-letters", "listDeadLetters", "List dead letters")
            .about(
                "Jobs in the background that failed through no fault of their request. They are kept for as long as their \
                 request is, unless there are too many; lines of batches are none, since a batch tries them again by itself.",
            )
            .query::<DeadLetterQuery>()
            .gives_page::<DeadLetter>("A page of them.")
            .of_one(),
        operation(
            Post,
            "/gate/v1/admin/dead-letters/{job}/requeue",
            "requeueDeadLetter",
            "Run a dead letter again",
        )
        .about("A new job under the same key, at today's price, with a hold of its own. Its account is told.")
        .query::<InEnvironment>()
        .takes::<DeadLetterAction>()
        .gives::<Requeued>("The new job.")
        .of_one()
        .fails([ErrorCode::Conflict, ErrorCode::NoCapacity]),
        operation(
            Delete,
            "/gate/v1/admin/dead-letters/{job}",
            "dropDeadLetter",
            "Drop a dead letter",
        )
        .query::<DeadLetterAction>()
        .gives::<DeadLetterDropped>("It is gone.")
        .of_one()
        .fails([ErrorCode::Conflict]),
        operation(Get, "/gate/v1/admin/accounts", "listAccounts", "List accounts")
            .query::<AccountsQuery>()
            .gives_page::<AdminAccount>("A page of them."),
        operation(Get, "/gate/v1/admin/accounts/{account}", "getAccountOf", "Retrieve an account")
            .gives::<AdminAccount>("The account.")
            .of_one(),
        operation(
            Post,
            "/gate/v1/admin/accounts/{account}",
            "changeAccount",
            "Suspend, restore, promote or demote an account",
        )
        .about("Nobody does it to their own account, and one administrator stays.")
        .takes::<ChangeAccount>()
        .gives::<AdminAccount>("The account as it is now.")
        .of_one()
        .fails([ErrorCode::Conflict]),
    ]
}
