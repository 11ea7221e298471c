//! Incidents: what waits for the same cause, counted. The counts are kept as deliveries change, so that a queue of a million
//! is answered as quickly as one of ten: by a trigger of the spool, which no UPDATE can forget, and by the one place that deletes.

use mail::{AuditId, Recipient, Time};
use rusqlite::{Connection, Result, params};
use serde_json::Value;

/// Why a delivery waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Id of the finding, such as `peer.greylist`.
    pub cause: String,
    /// What it is about, such as a host; empty for a cause that concerns everything. Deliveries of one cause and object are
    /// one incident.
    pub object: String,
    /// What is told of it, as JSON; the newest is kept.
    pub detail: Value,
    pub at: Time,
}

/// Deliveries that wait for the same cause.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    pub cause: String,
    pub object: String,
    pub detail: Value,
    pub count: u64,
    /// The oldest message, and the oldest bounce and the oldest message that is none: they expire after different times.
    pub oldest: AuditId,
    pub oldest_bounce: Option<AuditId>,
    pub oldest_mail: Option<AuditId>,
    /// Lanes with the most deliveries, and how many lanes there are.
    pub lanes: Vec<(String, u64)>,
    pub lane_count: u64,
    /// When the next delivery of these lanes is due.
    pub next: Time,
    /// Of the oldest deliveries, at most [`RECIPIENTS_MAX`].
    pub recipients: Vec<Recipient>,
}

/// The spool's step that brings it. Deliveries that wait already get the cause that their last attempt was given.
pub(crate) const STEP: &str = "
    ALTER TABLE delivery ADD COLUMN cause TEXT;   -- of the last finding
    ALTER TABLE delivery ADD COLUMN object TEXT;  -- NULL if cause is

    CREATE TABLE incident (
        cause       TEXT NOT NULL,
        object      TEXT NOT NULL,
        count       INTEGER NOT NULL,     -- kept by the triggers
        at_ms       INTEGER NOT NULL,     -- of detail
        detail      TEXT NOT NULL,        -- JSON
        PRIMARY KEY (cause, object)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX incident_count ON incident (count);
    CREATE TABLE incident_lane (
        cause       TEXT NOT NULL,
        object      TEXT NOT NULL,
        lane        TEXT NOT NULL,
        count       INTEGER NOT NULL,
        PRIMARY KEY (cause, object, lane)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX incident_lane_count ON incident_lane (cause, object, count);

    CREATE TRIGGER delivery_changed AFTER UPDATE OF cause, object, lane ON delivery
    WHEN OLD.cause IS NOT NEW.cause OR OLD.object IS NOT NEW.object OR (OLD.lane <> NEW.lane AND NEW.cause IS NOT NULL)
    BEGIN
        INSERT INTO incident SELECT NEW.cause, NEW.object, 1, 0, 'null' WHERE NEW.cause IS NOT NULL
            ON CONFLICT (cause, object) DO UPDATE SET count = count + 1;
        INSERT INTO incident_lane SELECT NEW.cause, NEW.object, NEW.lane, 1 WHERE NEW.cause IS NOT NULL
            ON CONFLICT (cause, object, lane) DO UPDATE SET count = count + 1;
        UPDATE incident SET count = count - 1 WHERE cause = OLD.cause AND object = OLD.object;
        DELETE FROM incident WHERE cause = OLD.cause AND object = OLD.object AND count = 0;
        UPDATE incident_lane SET count = count - 1 WHERE cause = OLD.cause AND object = OLD.object AND lane = OLD.lane;
        DELETE FROM incident_lane WHERE cause = OLD.cause AND object = OLD.object AND lane = OLD.lane AND count = 0;
    END;
    CREATE TRIGGER delivery_gone AFTER DELETE ON delivery WHEN OLD.cause IS NOT NULL
    BEGIN
        UPDATE incident SET count = count - 1 WHERE cause = OLD.cause AND object = OLD.object;
        DELETE FROM incident WHERE cause = OLD.cause AND object = OLD.object AND count = 0;
        UPDATE incident_lane SET count = count - 1 WHERE cause = OLD.cause AND object = OLD.object AND lane = OLD.lane;
        DELETE FROM incident_lane WHERE cause = OLD.cause AND object = OLD.object AND lane = OLD.lane AND count = 0;
    END;

    UPDATE delivery SET cause = extra ->> '$.finding.cause', object = CASE
            WHEN extra ->> '$.finding.actor' IN ('our-settings', 'our-network', 'our-reputation', 'our-dns') THEN ''
            ELSE coalesce(extra ->> '$.attempt.tries[#-1].host', lane) END
        WHERE json_valid(extra) AND extra ->> '$.finding.cause' IS NOT NULL;

    -- Made after that: one pass each. For pages of one cause; for the oldest of an incident; for its oldest bounce.
    CREATE INDEX delivery_cause ON delivery (cause, message, n) WHERE cause IS NOT NULL;
    CREATE INDEX delivery_incident ON delivery (cause, object, message, n, sender) WHERE cause IS NOT NULL;
    CREATE INDEX delivery_incident_bounce ON delivery (cause, object, message) WHERE cause IS NOT NULL AND sender = '<>';
    UPDATE incident SET detail = (
        SELECT json_object('finding', extra -> '$.finding', 'changed', coalesce(extra -> '$.changed', json('[]'))) FROM delivery
        WHERE delivery.cause = incident.cause AND delivery.object = incident.object LIMIT 1);
";

/// The spool's step that takes a trigger away again: with it, each DELETE of a delivery, of which nearly all have no cause, copied the
/// pages that it changed and kept a list of its rows. [`waits_less`] does the same in the one place that deletes.
pub(crate) const STEP_GONE: &str = "DROP TRIGGER delivery_gone;";

/// Recipients and lanes told of an incident.
const RECIPIENTS_MAX: usize = 10;
const LANES_MAX: usize = 10;
/// What is told of an incident is written anew after so long, not with every failure.
const DETAIL_MS: i64 = 10_000;

/// Counts a delivery that waited for this cause and is gone.
pub(crate) fn waits_less(db: &Connection, cause: &str, object: &str, lane: &str) -> Result<()> {
    for sql in [
        "UPDATE incident SET count = count - 1 WHERE cause = ?1 AND object = ?2",
        "DELETE FROM incident WHERE cause = ?1 AND object = ?2 AND count = 0",
    ] {
        db.prepare_cached(sql)?.execute([cause, object])?;
    }
    for sql in [
        "UPDATE incident_lane SET count = count - 1 WHERE cause = ?1 AND object = ?2 AND lane = ?3",
        "DELETE FROM incident_lane WHERE cause = ?1 AND object = ?2 AND lane = ?3 AND count = 0",
    ] {
        db.prepare_cached(sql)?.execute([cause, object, lane])?;
    }
    Ok(())
}

/// Notes what an incident is about, after its delivery was given the cause.
pub(crate) fn tell(db: &Connection, cause: &Cause) -> Result<()> {
    db.prepare_cached(
        "UPDATE incident SET detail = ?4, at_ms = ?3 WHERE cause = ?1 AND object = ?2 AND at_ms <= ?3 - ?5",
    )?
    .execute(params![cause.cause, cause.object, cause.at.ms(), cause.detail.to_string(), DETAIL_MS])
    .map(drop)
}

/// An incident in short.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentHead {
    pub cause: String,
    pub object: String,
    pub count: u64,
    pub detail: Value,
}

/// Where a list of incidents goes on: behind this one. Counts change, so one that grows or shrinks meanwhile may be met twice
/// or be passed by; the others are not moved by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentCursor {
    pub count: u64,
    pub cause: String,
    pub object: String,
}

/// Of the largest incidents what is written of them anyway: without what must be looked up for each.
pub(crate) fn heads(db: &Connection, limit: usize) -> Result<Vec<IncidentHead>> {
    db.prepare_cached("SELECT cause, object, count, detail FROM incident ORDER BY count DESC LIMIT ?")?
        .query_map([limit as i64], |row| {
            let detail: String = row.get(3)?;
            let detail = serde_json::from_str(&detail).unwrap_or_default();
            let count = row.get::<_, i64>(2)? as u64;
            Ok(IncidentHead { cause: row.get(0)?, object: row.get(1)?, count, detail })
        })?
        .collect()
}

/// Incidents, the largest first, at most `limit`.
pub(crate) fn list(db: &Connection, limit: usize, after: Option<&IncidentCursor>) -> Result<Vec<Incident>> {
    let from = after.map_or(i64::MAX, |after| i64::try_from(after.count).unwrap_or(i64::MAX));
    let (cause, object) = after.map_or(("", ""), |after| (&after.cause, &after.object));
    db.prepare_cached(LIST)?
        .query_map(params![from, cause, object, limit as i64], |row| {
            let (cause, object): (String, String) = (row.get(0)?, row.get(1)?);
            let detail: String = row.get(3)?;
            whole(db, cause, object, row.get::<_, i64>(2)? as u64, serde_json::from_str(&detail).unwrap_or_default())
        })?
        .collect()
}

const LIST: &str = "SELECT cause, object, count, detail FROM incident WHERE (count, cause, object) < (?1, ?2, ?3)
    ORDER BY count DESC, cause DESC, object DESC LIMIT ?4";

/// Whether an incident of this cause says this sentence.
pub(crate) fn is_said(db: &Connection, cause: &str, sentence: &str) -> Result<bool> {
    db.prepare_cached("SELECT 1 FROM incident WHERE cause = ?1 AND detail ->> '$.finding.sentence' = ?2")?
        .exists([cause, sentence])
}

/// Each cause with its deliveries and its incidents, the largest first.
pub(crate) fn causes(db: &Connection) -> Result<Vec<(String, u64, u64)>> {
    db.prepare_cached("SELECT cause, sum(count), count(*) FROM incident GROUP BY cause ORDER BY 2 DESC")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64)))?
        .collect()
}

fn whole(db: &Connection, cause: String, object: String, count: u64, detail: Value) -> Result<Incident> {
    let key = params![cause, object];
    let first = |sql: &str| -> Result<Option<AuditId>> {
        let id: Option<i64> = db.prepare_cached(sql)?.query_row(key, |row| row.get(0))?;
        Ok(id.and_then(AuditId::from_i64))
    };
    let oldest = first("SELECT min(message) FROM delivery WHERE cause = ? AND object = ?")?;
    let oldest_bounce = first("SELECT min(message) FROM delivery WHERE cause = ? AND object = ? AND sender = '<>'")?;
    let oldest_mail = match oldest_bounce {
        bounce if bounce != oldest => oldest,
        _ => first(
            "SELECT (SELECT message FROM delivery WHERE cause = ? AND object = ? AND sender <> '<>' ORDER BY message, n LIMIT 1)",
        )?,
    };
    let lanes: Vec<(String, u64)> = db
        .prepare_cached(
            "SELECT lane, count FROM incident_lane WHERE cause = ? AND object = ? ORDER BY count DESC LIMIT ?",
        )?
        .query_map(params![cause, object, LANES_MAX as i64], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?
        .collect::<Result<_>>()?;
    let lane_count: i64 = db
        .prepare_cached("SELECT count(*) FROM incident_lane WHERE cause = ? AND object = ?")?
        .query_row(key, |row| row.get(0))?;
    let mut due = db.prepare_cached("SELECT min(next_ms) FROM delivery WHERE lane = ?")?;
    let mut next = Time::NEVER;
    for (lane, _) in &lanes {
        let soonest: Option<i64> = due.query_row([lane], |row| row.get(0))?;
        next = next.min(soonest.map_or(Time::NEVER, Time));
    }
    let rows: Vec<String> = db
        .prepare_cached("SELECT recipients FROM delivery WHERE cause = ? AND object = ? ORDER BY message, n LIMIT ?")?
        .query_map(params![cause, object, RECIPIENTS_MAX as i64], |row| row.get(0))?
        .collect::<Result<_>>()?;
    let recipients = rows.iter().flat_map(|text| serde_json::from_str::<Vec<Recipient>>(text).unwrap_or_default());
    let recipients = recipients.take(RECIPIENTS_MAX).collect();
    Ok(Incident {
        detail,
        count,
        oldest: oldest.unwrap_or(AuditId::new(0, 0, 0)),
        oldest_bounce,
        oldest_mail,
        lane_count: lane_count as u64,
        lanes,
        next,
        recipients,
        cause,
        object,
    })
}

#[cfg(test)]
mod tests {
    use crate::schema::{migrate, open_spool, open_writer, spool_steps};
    use rusqlite::Connection;

    /// The plan of a query, in SQLite's words.
    fn plan(db: &Connection, sql: &str) -> String {
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let unset = rusqlite::params_from_iter((0..statement.parameter_count()).map(|_| 0));
        let rows = statement.query_map(unset, |row| row.get::<_, String>(3)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    /// A million rows are not sorted and not walked through.
    #[test]
    fn questions_about_incidents_go_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let db = open_spool(&folder.path().join("spool.db")).unwrap();
        let check = |sql: &str, index: &str| {
            let plan = plan(&db, sql);
            assert!(
                plan.contains(index) && !plan.contains("SCAN delivery") && !plan.contains("TEMP B-TREE"),
                "{sql}: {plan}"
            );
        };
        check("SELECT min(message) FROM delivery WHERE cause = 'a' AND object = 'b'", "delivery_incident (");
        check(
            "SELECT min(message) FROM delivery WHERE cause = 'a' AND object = 'b' AND sender = '<>'",
            "delivery_incident_bounce (",
        );
        check(
            "SELECT * FROM delivery WHERE state IN (SELECT value FROM json_each('[0]')) AND cause = 'a' AND (message, n) > (5, 0) ORDER BY message, n",
            "delivery_cause (",
        );
        check(super::LIST, "incident_count ((count,cause,object)<(");
    }

    #[test]
    fn a_spool_of_the_first_version_gets_the_causes_of_what_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool.db");
        let mut db = open_writer(&path, 4096).unwrap();
        migrate(&mut db, &spool_steps()[..1]).unwrap();
        let rows = [
            (
                1,
                "a.test",
                r#"{"finding":{"cause":"peer.greylist","actor":"their-policy"},"attempt":{"tries":[{"host":"x"},{"host":"mx.a.test"}]}}"#,
            ),
            (
                2,
                "b.test",
                r#"{"finding":{"cause":"net.port25_blocked","actor":"our-network"},"changed":["since noon"],"attempt":{"tries":[{"host":"mx"}]}}"#,
            ),
            (3, "c.test", r#"{"finding":{"cause":"net.port25_blocked","actor":"our-network"},"attempt":{"tries":[]}}"#),
            (4, "d.test", r#"{"finding":{"cause":"dns.servfail","actor":"their-dns"},"attempt":{"tries":[]}}"#),
            (5, "e.test", r#"{"notices":1}"#),
            (6, "f.test", "null"),
        ];
        for (id, lane, extra) in rows {
            db.execute(
                "INSERT INTO delivery (message, n, lane, next_ms, state, attempts, sender, recipients, status, extra)
                 VALUES (?1, 0, ?2, 0, 0, 1, 'a@x.test', '[]', '', ?3)",
                rusqlite::params![id, lane, extra],
            )
            .unwrap();
        }
        drop(db);
        let db = open_spool(&path).unwrap();
        let found: Vec<String> = super::list(&db, 9, None)
            .unwrap()
            .iter()
            .map(|incident| {
                let lanes: Vec<&str> = incident.lanes.iter().map(|(lane, _)| lane.as_str()).collect();
                let told = &incident.detail["finding"]["cause"];
                format!("{} at {:?}: {} in {} {told}", incident.cause, incident.object, incident.count, lanes.len())
            })
            .collect();
        let mut found = found;
        found.sort();
        assert_eq!(
            found,
            [
                "dns.servfail at \"d.test\": 1 in 1 \"dns.servfail\"",
                "net.port25_blocked at \"\": 2 in 2 \"net.port25_blocked\"",
                "peer.greylist at \"mx.a.test\": 1 in 1 \"peer.greylist\"",
            ]
        );
        assert_eq!(super::list(&db, 1, None).unwrap()[0].detail["changed"][0], "since noon");
    }
}
