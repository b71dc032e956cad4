//! Schemas of the types whose form on the wire is not that of their fields.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::job::{
    BatchAnswer, BatchRequest, ContainerError, ContainerOutput, ContainerResult, JobId, JobRequest, JobResponse,
};
use super::{ErrorResponse, subscription::DelegatedRequest};

impl PartialSchema for JobId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("The id of a job: a UUID where the node made it."))
            .examples(["01890a5d-ac96-774b-bcce-b302099a8057"])
            .into()
    }
}

impl ToSchema for JobId {
    fn name() -> Cow<'static, str> {
        "JobId".into()
    }
}

macro_rules! one_of {
    ($($name:ident, $description:literal: $($item:ty),*;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let one_of = OneOfBuilder::new().description(Some($description));
                $(let one_of = one_of.item(<$item>::schema());)*
                one_of.into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $(<$item>::schemas(schemas);)*
            }
        }
    )*};
}

/// `{}`: a delegated subscription that was taken.
struct Nothing;

impl Nothing {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("Of a delegated subscription."))
            .into()
    }

    fn schemas(_: &mut Vec<(String, RefOr<Schema>)>) {}
}

one_of! {
    ContainerResult, "What came of one container.": ContainerOutput, ContainerError;
    BatchRequest, "A job, or a delegated subscription.": JobRequest, DelegatedRequest;
    BatchAnswer, "What became of one entry, in its place.": JobResponse, Nothing, ErrorResponse;
}
