//! `/gate/v1/credits` and all that moves credits.

use resultity_core::api::gate::{
    AccountCredits, AccountUsage, AccountUsageQuery, Activity, AskFaucet, Correction, CreateVoucher, CreditHold,
    CreditQuery, CreditTransfer, CreditsReceived, InEnvironment, LedgerLine, NamespaceCredits, NewCorrection,
    NewTransfer, Payment, RedeemVoucher, Rewards, SetCreditAlert, Voucher, VoucherWithCode,
};
use resultity_core::error::ErrorCode;
use resultity_core::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};
use utoipa::openapi::schema::Type;

use crate::http::openapi::operation::{Access, Operation};

const CREDITS: &str = "Gate: credits";
const ADMIN: &str = "Gate: administration";
pub(super) const KEY_ABOUT: &str = "1 to 255 printable characters. A repeat with the same key gives the first outcome.";

pub(super) fn operations() -> Vec<Operation> {
    let mut all = own();
    all.extend(reports());
    all.extend(administration());
    all
}

fn own() -> Vec<Operation> {
    let account = |operation: Operation| operation.access(Access::SignedIn);
    let ops = vec![
        Operation::new(Get, "/gate/v1/credits", CREDITS, "listCredits", "What each namespace has")
            .query::<InEnvironment>()
            .gives::<AccountCredits>("The credits of an environment.")
            .of_one(),
        Operation::new(
            Get,
            "/gate/v1/namespaces/{namespace}/ledger",
            CREDITS,
            "listLedger",
            "All that changed what a namespace may spend",
        )
        .about("Newest first. The lines of a job (hold, then settlement or release) stand together, where it was accepted.")
        .query::<CreditQuery>()
        .gives_page::<LedgerLine>("A page of the ledger.")
        .of_one(),
        Operation::new(
            Get,
            "/gate/v1/namespaces/{namespace}/holds",
            CREDITS,
            "listHolds",
            "What is held for jobs that have not ended",
        )
        .query::<CreditQuery>()
        .gives_page::<CreditHold>("A page of holds.")
        .of_one(),
        Operation::new(
            Post,
            "/gate/v1/namespaces/{namespace}/alert",
            CREDITS,
            "setCreditAlert",
            "Be told before a namespace runs out of credits",
        )
        .about(
            "Once what it has, held or not, falls below the limit: by a notification, by the event `credits.low` to its \
             webhooks, and by mail. Once for each fall.",
        )
        .query::<InEnvironment>()
        .takes::<SetCreditAlert>()
        .gives::<NamespaceCredits>("The namespace with its alert.")
        .of_one(),
        Operation::new(
            Post,
            "/gate/v1/transfers",
            CREDITS,
            "transferCredits",
            "Move credits between own namespaces of one environment",
        )
        .header("Idempotency-Key", Type::String, KEY_ABOUT)
        .takes::<NewTransfer>()
        .gives::<CreditTransfer>("What was moved.")
        .of_one()
        .fails([ErrorCode::InsufficientQuota, ErrorCode::Conflict]),
        Operation::new(Post, "/gate/v1/faucet", CREDITS, "askFaucet", "The day's credits of testnet")
            .takes::<AskFaucet>()
            .gives::<CreditsReceived>("What was given.")
            .of_one(),
        Operation::new(Post, "/gate/v1/vouchers/redeem", CREDITS, "redeemVoucher", "Redeem a voucher")
            .takes::<RedeemVoucher>()
            .gives::<CreditsReceived>("What it was worth.")
            .of_one()
            .fails([ErrorCode::Conflict]),
    ];
    let mut ops: Vec<Operation> = ops.into_iter().map(account).collect();
    ops.push(
        Operation::new(
            Post,
            "/gate/v1/payments",
            CREDITS,
            "receivePayment",
            "For the payment provider: somebody has paid",
        )
        .about("Signed as Standard Webhooks has it, with the secret that the operator shares with the provider. It counts once.")
        .access(Access::Anyone)
        .header(ID_HEADER, Type::String, "Names the message.")
        .header(TIMESTAMP_HEADER, Type::Integer, "Seconds since the Unix epoch; at most 5 minutes from now.")
        .header(SIGNATURE_HEADER, Type::String, "`v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`.")
        .takes::<Payment>()
        .gives::<CreditsReceived>("What was credited.")
        .of_one()
        .fails([
            ErrorCode::InvalidCredentials,
            ErrorCode::Conflict,
            ErrorCode::NotImplemented,
            ErrorCode::Internal,
        ]),
    );
    ops
}

fn reports() -> Vec<Operation> {
    let account = |operation: Operation| operation.access(Access::SignedIn);
    let ops = vec![
        Operation::new(
            Get,
            "/gate/v1/usage",
            CREDITS,
            "getAccountUsage",
            "What all keys of the account used",
        )
        .query::<AccountUsageQuery>()
        .query_field("format", Type::String, "`json` (the default) or `csv`.")
        .gives::<AccountUsage>("The report.")
        .or_text("text/csv")
        .of_one(),
        Operation::new(
            Get,
            "/gate/v1/activity",
            CREDITS,
            "listActivity",
            "What happened, newest first",
        )
        .query::<CreditQuery>()
        .gives_page::<Activity>("A page of it.")
        .of_one(),
        Operation::new(
            Get,
            "/gate/v1/rewards",
            CREDITS,
            "getRewards",
            "Credits, earnings and contribution points",
        )
        .query::<InEnvironment>()
        .gives::<Rewards>("What the account has and its nodes earned.")
        .of_one(),
    ];
    ops.into_iter().map(account).collect()
}

fn administration() -> Vec<Operation> {
    let admin = |operation: Operation| operation.access(Access::Administrator);
    let ops = vec![
        Operation::new(
            Get,
            "/gate/v1/admin/vouchers",
            ADMIN,
            "listVouchers",
            "The vouchers of an environment",
        )
        .query::<CreditQuery>()
        .gives_page::<Voucher>("A page of vouchers.")
        .of_one(),
        Operation::new(
            Post,
            "/gate/v1/admin/vouchers",
            ADMIN,
            "createVoucher",
            "Make a voucher",
        )
        .about("The code is in this answer alone.")
        .takes::<CreateVoucher>()
        .gives::<VoucherWithCode>("The voucher with its code.")
        .of_one(),
        Operation::new(
            Delete,
            "/gate/v1/admin/vouchers/{voucher}",
            ADMIN,
            "revokeVoucher",
            "Revoke a voucher",
        )
        .about("What was redeemed stays.")
        .query::<InEnvironment>()
        .gives::<Voucher>("The voucher, revoked.")
        .of_one(),
        Operation::new(
            Post,
            "/gate/v1/admin/corrections",
            ADMIN,
            "correctCredits",
            "Write a compensating entry",
        )
        .about("Undo a transaction, or give to or take from a namespace. Nobody has less than nothing after it.")
        .header("Idempotency-Key", Type::String, KEY_ABOUT)
        .takes::<NewCorrection>()
        .gives::<Correction>("What was written.")
        .of_one()
        .fails([ErrorCode::Conflict]),
        Operation::new(
            Get,
            "/gate/v1/admin/namespaces/{namespace}/ledger",
            ADMIN,
            "listAnyLedger",
            "The ledger of any namespace",
        )
        .query::<CreditQuery>()
        .gives_page::<LedgerLine>("A page of the ledger.")
        .of_one(),
    ];
    ops.into_iter().map(admin).collect()
}
