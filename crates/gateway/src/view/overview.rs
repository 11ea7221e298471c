//! The dashboard's figures.

use super::View;
use crate::clock::now;
use crate::core::Core;
use crate::identity::counts;
use async_trait::async_trait;
use control::{
    COUNTED, CauseTotal, Column, IdentityState, Oldest, Overview, OverviewReader, Problem, ScannerState, Span, Total,
};
use decide::identity::State;
use mail::Time;
use std::io;
use store::{Selection, Step};

/// Causes told.
const CAUSES_MAX: usize = 50;

#[async_trait]
impl OverviewReader for View {
    async fn overview(&self, span: Span) -> Result<Overview, Problem> {
        self.read(move |core| overview(core, span)).await
    }
}

fn overview(core: &Core, span: Span) -> io::Result<Overview> {
    let (count, step_ms) = span.columns();
    let step = match span {
        Span::Hour => Step::Minutes(1),
        Span::Day => Step::Minutes(30),
        Span::Month => Step::Days(1),
    };
    let at = now();
    let until = Time(at.ms() - at.ms().rem_euclid(step_ms) + step_ms);
    let from = Time(until.ms() - count * step_ms);
    let columns = (0..count).map(|n| Column { at: Time(from.ms() + n * step_ms), ..Column::default() }).collect();
    let mut overview = Overview { at, from, until, step_ms, columns, ..Overview::default() };
    for stat in core.store.stats(from, until, step)? {
        count_in(&mut overview, &stat);
    }
    for found in core.store.cause_counts(from, until, step, CAUSES_MAX)? {
        match overview.causes.iter_mut().find(|known| known.cause == found.cause) {
            Some(known) => known.count += found.count,
            None => overview.causes.push(CauseTotal { cause: found.cause, count: found.count }),
        }
    }
    overview.causes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cause.cmp(&b.cause)));
    let oldest = core.store.list(&Selection::default(), 1, None)?.pop();
    overview.oldest = oldest.map(|entry| Oldest { id: entry.id.to_string(), received: entry.received });
    let in_force = core.in_force();
    let own = ScannerState {
        name: in_force.hostname.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: crate::door::mode(in_force.settings.mode).to_owned(),
    };
    let other = |name: &dyn std::fmt::Display| ScannerState {
        name: name.to_string(),
        version: String::new(),
        state: "not enrolled here: enrol it under Administration, Scanners, to see how it is".to_owned(),
    };
    let enrolled = super::scanners::all(core);
    let is_enrolled = |name: &str| {
        enrolled
            .iter()
            .any(|known| known.name == name || known.report.as_ref().is_some_and(|report| report.name == name))
    };
    let known = enrolled.iter().map(|scanner| ScannerState {
        name: scanner.name.clone(),
        version: scanner.report.as_ref().map(|report| report.version.clone()).unwrap_or_default(),
        state: match (&scanner.trouble, &scanner.report) {
            (Some(trouble), _) => format!("unreachable: {}", trouble.what),
            (None, Some(report)) => report.mode.clone(),
            (None, None) => "not asked yet".to_owned(),
        },
    });
    overview.scanners = std::iter::once(own)
        .chain(known)
        .chain(
            in_force
                .settings
                .scanners
                .iter()
                .filter(|scanner| scanner.name != in_force.hostname && !is_enrolled(&scanner.name.to_string()))
                .map(|scanner| other(&scanner.name)),
        )
        .collect();
    overview.identity = core.desk.last().map(|report| {
        let found = counts(&report.lines, &[State::Problem, State::Warning]);
        let words = if found.is_empty() { "nothing found".to_owned() } else { found };
        IdentityState { is_well: core.desk.problems() == 0, words }
    });
    overview.behind = core.store.audit_behind();
    Ok(overview)
}

/// What is not counted on the dashboard is left out.
fn count_in(overview: &mut Overview, stat: &store::Stat) {
    let Some(which) = COUNTED.iter().position(|outcome| *outcome == stat.class.name()) else { return };
    let at = usize::try_from((stat.at.ms() - overview.from.ms()) / overview.step_ms).ok();
    if let Some(column) = at.and_then(|at| overview.columns.get_mut(at)) {
        column.counts[which] += stat.count;
        match which {
            0 => column.octets[0] += stat.octets,
            2 => column.octets[1] += stat.octets,
            _ => {}
        }
    }
    let is_same = |total: &&mut Total| total.outcome == stat.class.name() && total.listener == stat.door;
    match overview.totals.iter_mut().find(is_same) {
        Some(total) => (total.count, total.octets) = (total.count + stat.count, total.octets + stat.octets),
        None => overview.totals.push(Total {
            outcome: stat.class.name().to_owned(),
            listener: stat.door.to_owned(),
            count: stat.count,
            octets: stat.octets,
        }),
    }
}
