//! Namespaces.

use resultity_core::api::gate::{
    CreateNamespace, InEnvironment, Namespace, NamespaceDeleted, NamespaceQuery, UpdateNamespace,
};
use resultity_core::error::ErrorCode;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

const TAG: &str = "Gate: namespaces and keys";
const ONE: &str = "/gate/v1/namespaces/{namespace}";

pub(super) fn operations() -> Vec<Operation> {
    let operations = [
        Operation::new(
            Get,
            "/gate/v1/namespaces",
            TAG,
            "listNamespaces",
            "The account's namespaces",
        )
        .query::<NamespaceQuery>()
        .gives_page::<Namespace>("A page of namespaces.")
        .of_one(),
        Operation::new(Post, "/gate/v1/namespaces", TAG, "createNamespace", "Make a namespace")
            .takes::<CreateNamespace>()
            .gives::<Namespace>("The namespace.")
            .of_one()
            .fails([ErrorCode::Conflict]),
        Operation::new(Get, ONE, TAG, "retrieveNamespace", "A namespace")
            .query::<InEnvironment>()
            .gives::<Namespace>("The namespace.")
            .of_one(),
        Operation::new(Post, ONE, TAG, "updateNamespace", "Change a namespace")
            .about("What is named is changed, the rest stays.")
            .query::<InEnvironment>()
            .takes::<UpdateNamespace>()
            .gives::<Namespace>("The namespace as it is now.")
            .of_one()
            .fails([ErrorCode::Conflict]),
        Operation::new(
            Delete,
            ONE,
            TAG,
            "deleteNamespace",
            "Delete a namespace that has nothing",
        )
        .about("It must have no credits and no job under way. Its API keys are revoked, its webhooks and files go.")
        .query::<InEnvironment>()
        .gives::<NamespaceDeleted>("It is gone.")
        .of_one()
        .fails([ErrorCode::Conflict]),
    ];
    let operations = operations.into_iter().map(|operation| {
        let operation = operation.access(Access::SignedIn);
        operation.fails([ErrorCode::Internal])
    });
    operations.collect()
}
