//! Reading a whole store to see whether it holds together.
//!
//! Every row is read (the engines check their own sums as they go), every value in pieces is put together, and
//! every piece is asked for its row. Page by page, so that the store can be used meanwhile.

use crate::disk::{Disk, Layout};
use crate::embedded::Shared;
use crate::{Fault, Page, Range, Report};

const PAGE: Page = Page { rows_max: 500, bytes_max: 1 << 20 };
const PROBLEMS_MAX: usize = 100;

pub(crate) fn verify<D: Disk>(shared: &Shared<D>) -> Result<Report, Fault> {
    let mut report = Report::default();
    let mut range = Range::all();
    loop {
        let gate = shared.enter();
        let layout = gate.as_ref().ok_or_else(Fault::closed)?;
        let page = layout.scan(&range, PAGE);
        drop(gate);
        let page = match page {
            Ok(page) => page,
            Err(fault) => {
                // There is no way past a row that cannot be read.
                report.problems.push(format!("after {}: {fault}", range.from().escape_ascii()));
                break;
            }
        };
        let mut last = None;
        for (key, value) in &page {
            if last.is_some_and(|last| key <= last) {
                report.note(format!("{} is out of order", key.escape_ascii()));
            }
            report.rows += 1;
            report.bytes += (key.len() + value.len()) as u64;
            last = Some(key);
        }
        match last {
            Some(key) if !page.is_complete => range = range.past(key),
            _ => break,
        }
    }
    verify_pieces(shared, &mut report)?;
    let gate = shared.enter();
    report.last_commit = gate.as_ref().ok_or_else(Fault::closed)?.sequence()?;
    Ok(report)
}

fn verify_pieces<D: Disk>(shared: &Shared<D>, report: &mut Report) -> Result<(), Fault> {
    let mut from = Vec::new();
    loop {
        let gate = shared.enter();
        let layout = gate.as_ref().ok_or_else(Fault::closed)?;
        let keys = layout.piece_keys(&from, PAGE.rows_max)?;
        for key in &keys {
            let is_owned = match Layout::<D>::piece_owner(key) {
                Some((owner, number)) => layout.pieces_of(owner)? > number as usize,
                None => false,
            };
            if !is_owned {
                report.note(format!("a piece of a value belongs to no row: {}", key.escape_ascii()));
            }
        }
        match keys.last() {
            Some(last) if keys.len() == PAGE.rows_max => {
                from = last.to_vec();
                from.push(0);
            }
            _ => return Ok(()),
        }
    }
}

impl Report {
    fn note(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}
