//! `crossdock event show`: one event with everything said about it.

use std::process::ExitCode;

use anyhow::anyhow;
use chrono::Utc;
use clap::Args;
use crossdock_engine::EventView;

use crate::{
    Context,
    client::{ClientError, RECORD_PATIENCE},
    human::printable,
    story,
};

/// Show one event with its data and every attempt to deliver it
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  crossdock event send docs/examples/order.json && crossdock event show example-order-1"
)]
pub(crate) struct Show {
    /// The event's id
    id: String,
    /// Its source, where several sources use the same id
    #[arg(long)]
    source: Option<String>,
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let query: Vec<_> = self.source.map(|source| ("source", source)).into_iter().collect();
        let view: EventView = match context
            .client()?
            .get_recorded(&["v1", "events", &self.id], &query, RECORD_PATIENCE)
            .await
        {
            Ok(view) => view,
            Err(ClientError::Refused(problem)) if !problem.details.sources.is_empty() => {
                let sources = printable(&problem.details.sources.join(", "));
                return Err(anyhow!(
                    "several sources use this id; name one with --source: {sources}"
                ));
            }
            Err(error) => return Err(error.into()),
        };
        if context.output.is_json() {
            context.output.json(&view)?;
        } else {
            story::print_in_full(context.output, &view, Utc::now())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
