//! What all applications share: the frame of a page, who looks at it, forms, tables, charts, and how things are written.

pub(super) mod assets;
pub(super) mod chart;
pub(super) mod form;
pub(super) mod notice;
pub(super) mod page;
pub(super) mod show;
pub(super) mod table;
pub(super) mod visitor;
