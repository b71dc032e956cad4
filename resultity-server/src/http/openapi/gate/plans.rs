//! `/gate/v1/plans`, `/account/plan`, `/admin/plans`.

use resultity_core::api::gate::{AccountPlan, ChoosePlan, InEnvironment, Plan, PlanDeleted, Plans, PutPlan};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

pub(super) fn operations() -> Vec<Operation> {
    let (account, administration) = ("Gate: account", "Gate: administration");
    vec![
        Operation::new(Get, "/gate/v1/plans", account, "listPlans", "List plans")
            .access(Access::SignedIn)
            .query::<InEnvironment>()
            .gives::<Plans>("Those that anybody may choose; for administrators all.")
            .of_one(),
        Operation::new(
            Get,
            "/gate/v1/account/plan",
            account,
            "getAccountPlan",
            "See the account's plan",
        )
        .access(Access::SignedIn)
        .query::<InEnvironment>()
        .gives::<AccountPlan>("The plan, if there is one.")
        .of_one(),
        Operation::new(
            Post,
            "/gate/v1/account/plan",
            account,
            "choosePlan",
            "Choose the account's plan",
        )
        .about("The credits of the month come at once, but only once a month, whichever plans the account has in it.")
        .access(Access::SignedIn)
        .takes::<ChoosePlan>()
        .gives::<AccountPlan>("The plan as it is now.")
        .of_one(),
        Operation::new(
            Post,
            "/gate/v1/admin/plans",
            administration,
            "putPlan",
            "Make or replace a plan",
        )
        .access(Access::Administrator)
        .takes::<PutPlan>()
        .gives::<Plan>("The plan.")
        .of_one()
        .fails([ErrorCode::Conflict]),
        Operation::new(
            Delete,
            "/gate/v1/admin/plans/{plan}",
            administration,
            "deletePlan",
            "Delete a plan that no account has",
        )
        .access(Access::Administrator)
        .query::<InEnvironment>()
        .gives::<PlanDeleted>("It is gone.")
        .of_one()
        .fails([ErrorCode::Conflict]),
        Operation::new(
            Post,
            "/gate/v1/admin/accounts/{account}/plan",
            administration,
            "givePlan",
            "Give an account a plan, or take it",
        )
        .access(Access::Administrator)
        .takes::<ChoosePlan>()
        .gives::<AccountPlan>("The plan as it is now.")
        .of_one(),
    ]
}
