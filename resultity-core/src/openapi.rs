//! Schemas of types whose form on the wire is not that of their fields, and the descriptions of all.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::id::{
    AccountId, AuditId, BatchId, DeliveryId, EventId, FileId, JobId, KeyId, LoginId, NamespaceId, NodeId,
    NotificationId, PenaltyId, ResponseId, SignInId, SubcloudId, TokenId, TransferId, VoucherId, WebhookId,
};
use crate::openai::response::{FunctionCall, InputItem, OutputItem, OutputMessage, ReasoningItem};
use crate::webhook::EventType;

mod words;

pub use words::clean;

macro_rules! ids {
    ($($id:ident, $what:literal, $example:literal;)*) => {$(
        impl PartialSchema for $id {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some(concat!("The id of ", $what, ".")))
                    .examples([$example])
                    .into()
            }
        }

        impl ToSchema for $id {
            fn name() -> Cow<'static, str> {
                stringify!($id).into()
            }
        }
    )*};
}

ids! {
    AccountId, "an account", "01890a5d-ac96-774b-bcce-b302099a8057";
    LoginId, "a place where somebody is signed in", "login_01890a5dac96774bbcceb302099a8057";
    TokenId, "an access token", "tok_01890a5dac96774bbcceb302099a8057";
    SignInId, "an attempt to sign in", "sgn_01890a5dac96774bbcceb302099a8057";
    TransferId, "a transfer, payout or redemption", "trf_01890a5dac96774bbcceb302099a8057";
    VoucherId, "a voucher", "vch_01890a5dac96774bbcceb302099a8057";
    PenaltyId, "a penalty", "pen_01890a5dac96774bbcceb302099a8057";
    SubcloudId, "a Subcloud", "sub_01890a5dac96774bbcceb302099a8057";
    NotificationId, "a notification", "ntf_01890a5dac96774bbcceb302099a8057";
    AuditId, "a line of the audit log", "aud_01890a5dac96774bbcceb302099a8057";
    NodeId, "a node: the address of its key", "0xabcdef0000000000000000000000000000000001";
    NamespaceId, "a namespace: a balance with its API keys", "01890a5d-ac96-774b-bcce-b302099a8057";
    KeyId, "an API key", "01890a5d-ac96-774b-bcce-b302099a8057";
    JobId, "a job", "01890a5d-ac96-774b-bcce-b302099a8057";
    WebhookId, "a webhook", "wh_01890a5dac96774bbcceb302099a8057";
    EventId, "an event", "evt_01890a5dac96774bbcceb302099a8057";
    DeliveryId, "a delivery", "whd_01890a5dac96774bbcceb302099a8057";
    FileId, "a file", "file-01890a5dac96774bbcceb302099a8057";
    BatchId, "a batch", "batch_01890a5dac96774bbcceb302099a8057";
    ResponseId, "a response", "resp_01890a5dac96774bbcceb302099a8057";
}

impl PartialSchema for EventType {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("What has happened. Newer servers may know more."))
            .enum_values(Some(EventType::ALL.iter().map(|kind| kind.as_str())))
            .into()
    }
}

impl ToSchema for EventType {
    fn name() -> Cow<'static, str> {
        "EventType".into()
    }
}

/// Any object.
fn object(description: &str) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .description(Some(description))
        .into()
}

impl PartialSchema for InputItem {
    fn schema() -> RefOr<Schema> {
        object(
            "A message (`role` and `content`), a `function_call` of the model, a `function_call_output`, or an output item of \
             an earlier response.",
        )
    }
}

impl ToSchema for InputItem {
    fn name() -> Cow<'static, str> {
        "InputItem".into()
    }
}

impl PartialSchema for OutputItem {
    fn schema() -> RefOr<Schema> {
        let of = |name: &str, kind: &str| {
            let kind = ObjectBuilder::new()
                .schema_type(Type::Object)
                .property(
                    "type",
                    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([kind])),
                )
                .required("type");
            utoipa::openapi::AllOfBuilder::new()
                .item(Ref::from_schema_name(name))
                .item(kind)
        };
        OneOfBuilder::new()
            .description(Some("One item of an answer, told apart by its `type`."))
            .item(of("OutputMessage", "message"))
            .item(of("FunctionCall", "function_call"))
            .item(of("ReasoningItem", "reasoning"))
            .into()
    }
}

impl ToSchema for OutputItem {
    fn name() -> Cow<'static, str> {
        "OutputItem".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for (name, schema) in [
            (OutputMessage::name(), OutputMessage::schema()),
            (FunctionCall::name(), FunctionCall::schema()),
            (ReasoningItem::name(), ReasoningItem::schema()),
        ] {
            schemas.push((name.into_owned(), schema));
        }
        OutputMessage::schemas(schemas);
        FunctionCall::schemas(schemas);
        ReasoningItem::schemas(schemas);
    }
}
