//! `chirrup check store`: every row read and checked, on a stopped server's store.

use store::Store;

use super::Finding;

/// Reads everything in `store`. Long for large ones.
pub async fn verify(store: &dyn Store) -> Vec<Finding> {
    match store.verify().await {
        Ok(report) => {
            let mut findings: Vec<Finding> = report.problems.iter().map(Finding::bad).collect();
            if findings.is_empty() {
                findings.push(Finding::good(format!(
                    "{} rows, {} bytes, {} commits: everything reads",
                    report.rows, report.bytes, report.last_commit
                )));
            }
            findings
        }
        Err(fault) => vec![Finding::bad(format!("the store cannot be read: {fault}"))],
    }
}
