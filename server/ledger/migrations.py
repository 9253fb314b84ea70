"""The schema, one migration after another. A released migration is never edited; a new one follows it."""

import sqlite3

import sqlite_utils
from sqlite_utils.migrations import Migrations

SCRIPTS = {
    "m001_ledger": """
        CREATE TABLE clients (
            id INTEGER PRIMARY KEY,
            public_id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL UNIQUE CHECK (length(name) > 0),
            test INTEGER NOT NULL CHECK (test IN (0, 1)),
            -- Kept by the trigger below, never written directly.
            balance INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
            signing_secret TEXT,
            created_at TEXT NOT NULL
        ) STRICT;

        CREATE TABLE keys (
            id INTEGER PRIMARY KEY,
            client_id INTEGER NOT NULL REFERENCES clients(id),
            hash BLOB NOT NULL UNIQUE,
            -- The first characters, enough for a person to tell keys apart.
            hint TEXT NOT NULL,
            capabilities TEXT NOT NULL,
            created_at TEXT NOT NULL,
            revoked_at TEXT
        ) STRICT;

        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY,
            public_id TEXT NOT NULL UNIQUE,
            client_id INTEGER NOT NULL REFERENCES clients(id),
            job_type TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('NOT_STARTED', 'IN_PROGRESS', 'SUCCESS', 'FAILURE')),
            -- The spec as the client sent it, defaults filled in.
            request TEXT NOT NULL,
            -- What it was resolved to at dispatch: model, size, steps, seed, prompt.
            work TEXT NOT NULL,
            credits_cost INTEGER NOT NULL CHECK (credits_cost >= 0),
            attempts INTEGER NOT NULL DEFAULT 0,
            last_seq INTEGER NOT NULL DEFAULT 0,
            created_at TEXT NOT NULL,
            started_at TEXT,
            ended_at TEXT
        ) STRICT;
        CREATE INDEX jobs_by_client ON jobs (client_id, id);
        CREATE INDEX jobs_unfinished ON jobs (id) WHERE status IN ('NOT_STARTED', 'IN_PROGRESS');

        CREATE TABLE entries (
            id INTEGER PRIMARY KEY,
            public_id TEXT NOT NULL UNIQUE,
            client_id INTEGER NOT NULL REFERENCES clients(id),
            kind TEXT NOT NULL CHECK (kind IN ('grant', 'charge', 'refund')),
            amount INTEGER NOT NULL,
            job_id INTEGER REFERENCES jobs(id),
            label TEXT NOT NULL,
            created_at TEXT NOT NULL,
            -- A job is charged at most once and refunded at most once; a grant belongs to no job.
            UNIQUE (job_id, kind),
            CHECK ((kind = 'grant') = (job_id IS NULL)),
            CHECK (CASE kind WHEN 'charge' THEN amount <= 0 ELSE amount >= 0 END)
        ) STRICT;
        CREATE INDEX entries_by_client ON entries (client_id, id);

        CREATE TRIGGER entries_move_the_balance AFTER INSERT ON entries BEGIN
            UPDATE clients SET balance = balance + NEW.amount WHERE id = NEW.client_id;
        END;
        CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries BEGIN
            SELECT RAISE(ABORT, 'ledger entries are append-only');
        END;
        CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries BEGIN
            SELECT RAISE(ABORT, 'ledger entries are append-only');
        END;

        CREATE TABLE events (
            job_id INTEGER NOT NULL REFERENCES jobs(id),
            seq INTEGER NOT NULL,
            event_type TEXT NOT NULL CHECK (event_type IN ('queued', 'stage', 'succeeded', 'failed')),
            stage TEXT,
            message TEXT NOT NULL,
            -- Whether the job's artifacts belong to this event.
            with_artifacts INTEGER NOT NULL DEFAULT 0,
            extra TEXT NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (job_id, seq)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE artifacts (
            id INTEGER PRIMARY KEY,
            public_id TEXT NOT NULL UNIQUE,
            job_id INTEGER NOT NULL REFERENCES jobs(id),
            -- Relative to the images folder.
            path TEXT NOT NULL,
            kind TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('intermediate', 'final')),
            label TEXT NOT NULL,
            meta TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT;
        CREATE INDEX artifacts_by_job ON artifacts (job_id);

        CREATE TABLE backgrounds (
            id INTEGER PRIMARY KEY,
            public_id TEXT NOT NULL UNIQUE,
            client_id INTEGER NOT NULL REFERENCES clients(id),
            job_id INTEGER NOT NULL UNIQUE REFERENCES jobs(id),
            artifact_id INTEGER NOT NULL REFERENCES artifacts(id),
            status TEXT NOT NULL CHECK (status IN ('active', 'archived')),
            scene_type TEXT NOT NULL,
            spec TEXT NOT NULL,
            description TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT;
        CREATE INDEX backgrounds_by_client ON backgrounds (client_id, id);

        CREATE TABLE idempotency_keys (
            client_id INTEGER NOT NULL REFERENCES clients(id),
            key TEXT NOT NULL,
            body_hash BLOB NOT NULL,
            response TEXT NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (client_id, key)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE request_logs (
            id TEXT PRIMARY KEY,
            client_id INTEGER REFERENCES clients(id),
            key_id INTEGER REFERENCES keys(id),
            method TEXT NOT NULL,
            route TEXT NOT NULL,
            status INTEGER NOT NULL,
            error_code TEXT,
            job_id TEXT,
            credits INTEGER NOT NULL,
            duration_ms REAL NOT NULL,
            remote TEXT NOT NULL,
            user_agent TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX request_logs_by_time ON request_logs (created_at);
        CREATE INDEX request_logs_by_client ON request_logs (client_id, created_at);
    """,
    "m002_priorities_and_sizes": """
        -- Each step doubles the client's share of the GPU for jobs sent with this key.
        ALTER TABLE keys ADD COLUMN priority INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -4 AND 4);
        ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;

        -- What one denoiser call costs at each batch shape; seconds are null where it did not fit into memory.
        CREATE TABLE sizes (
            model TEXT NOT NULL,
            device TEXT NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            shape INTEGER NOT NULL,
            revision TEXT NOT NULL,
            seconds_per_step REAL,
            peak_bytes INTEGER,
            measured_at TEXT NOT NULL,
            PRIMARY KEY (model, device, width, height, shape)
        ) STRICT, WITHOUT ROWID;
    """,
    "m003_plans_and_catalog": """
        -- A job has several generations now; what it was resolved to is its plan.
        ALTER TABLE jobs RENAME COLUMN work TO plan;
        UPDATE jobs SET plan = json_object(
            'generations', json_array(json_object(
                'model', json_extract(plan, '$.model'),
                'width', json_extract(plan, '$.width'),
                'height', json_extract(plan, '$.height'),
                'steps', json_extract(plan, '$.steps'),
                'guidance', json_extract(plan, '$.guidance'),
                'seed', json_extract(plan, '$.seed'),
                'prompt', json_extract(plan, '$.prompt'),
                'negative_prompt', json_extract(plan, '$.negative_prompt'),
                'colors', json(json_extract(plan, '$.colors'))
            )),
            'evaluate', json(CASE WHEN json_extract(plan, '$.evaluate') THEN 'true' ELSE 'false' END),
            'on_technical_failure', json_extract(plan, '$.on_technical_failure'),
            'max_attempts', json_extract(plan, '$.max_attempts'),
            'display_name', json_extract(plan, '$.display_name'),
            'understood', json(coalesce(json_extract(plan, '$.understood'), 'null'))
        );

        -- The catalogue holds the images of every workflow, and several of one job.
        CREATE TABLE catalog (
            id INTEGER PRIMARY KEY,
            public_id TEXT NOT NULL UNIQUE,
            client_id INTEGER NOT NULL REFERENCES clients(id),
            job_id INTEGER NOT NULL REFERENCES jobs(id),
            artifact_id INTEGER NOT NULL UNIQUE REFERENCES artifacts(id),
            entry_type TEXT NOT NULL CHECK (entry_type IN ('background', 'image')),
            status TEXT NOT NULL CHECK (status IN ('active', 'archived')),
            -- Backgrounds are looked up by it; other entries have none.
            scene_type TEXT,
            spec TEXT NOT NULL,
            description TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT;
        CREATE INDEX catalog_by_client ON catalog (client_id, entry_type, id);
        INSERT INTO catalog
            SELECT id, public_id, client_id, job_id, artifact_id, 'background', status, scene_type, spec, description,
                created_at FROM backgrounds;
        DROP TABLE backgrounds;
    """,
    "m004_events_of_a_client": """
        -- Events are numbered across all jobs too, so that a client can follow all of its jobs at once.
        CREATE TABLE numbered_events (
            -- A number is never given twice, whatever is deleted.
            cursor INTEGER PRIMARY KEY AUTOINCREMENT,
            client_id INTEGER NOT NULL REFERENCES clients(id),
            job_id INTEGER NOT NULL REFERENCES jobs(id),
            seq INTEGER NOT NULL,
            event_type TEXT NOT NULL CHECK (event_type IN ('queued', 'stage', 'succeeded', 'failed')),
            stage TEXT,
            message TEXT NOT NULL,
            -- Whether the job's artifacts belong to this event.
            with_artifacts INTEGER NOT NULL DEFAULT 0,
            extra TEXT NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (job_id, seq)
        ) STRICT;
        -- By time, but for a job's own events, which keep their order even if the clock was set back between them.
        INSERT INTO numbered_events
            (client_id, job_id, seq, event_type, stage, message, with_artifacts, extra, created_at)
            SELECT jobs.client_id, job_id, seq, event_type, stage, message, with_artifacts, extra, events.created_at
            FROM events JOIN jobs ON jobs.id = job_id
            ORDER BY max(events.created_at) OVER (PARTITION BY job_id ORDER BY seq), job_id, seq;
        DROP TABLE events;
        ALTER TABLE numbered_events RENAME TO events;
        CREATE INDEX events_by_client ON events (client_id, cursor);
    """,
    "m005_webhooks": """
        CREATE TABLE webhooks (
            client_id INTEGER PRIMARY KEY REFERENCES clients(id),
            url TEXT NOT NULL,
            -- A JSON array of the event types that the receiver wants.
            events TEXT NOT NULL,
            secret TEXT NOT NULL,
            -- The secret before this one: for a day, deliveries are signed with both.
            previous_secret TEXT,
            set_at TEXT NOT NULL
        ) STRICT;

        -- The outbox: the transaction that ends a job writes its row.
        CREATE TABLE webhook_deliveries (
            id INTEGER PRIMARY KEY,
            public_id TEXT NOT NULL UNIQUE,
            client_id INTEGER NOT NULL REFERENCES clients(id),
            -- A job ends once.
            job_id INTEGER NOT NULL UNIQUE REFERENCES jobs(id),
            event TEXT NOT NULL CHECK (event IN ('job.succeeded', 'job.failed')),
            state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
            -- Tries whose outcome is known.
            tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
            tried_at TEXT,
            -- The HTTP status of the last try; null if there was no answer.
            status INTEGER,
            -- What was wrong with the last try; null if nothing was.
            error TEXT,
            -- The next try of a pending delivery; null once it has ended.
            due_at TEXT,
            created_at TEXT NOT NULL,
            CHECK ((state = 'pending') = (due_at IS NOT NULL))
        ) STRICT;
        CREATE INDEX webhook_deliveries_due ON webhook_deliveries (client_id, due_at) WHERE state = 'pending';
        CREATE INDEX webhook_deliveries_by_time ON webhook_deliveries (created_at);
    """,
    "m006_image_life": """
        ALTER TABLE catalog ADD COLUMN favourite INTEGER NOT NULL DEFAULT 0 CHECK (favourite IN (0, 1));
        -- Since when it is archived; entries that were archived before this are counted from now.
        ALTER TABLE catalog ADD COLUMN archived_at TEXT;
        UPDATE catalog SET archived_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') WHERE status = 'archived';
        CREATE INDEX catalog_by_job ON catalog (job_id);
        CREATE INDEX catalog_archived ON catalog (archived_at) WHERE archived_at IS NOT NULL;

        -- An image that was removed leaves its artifact, with all it takes to make it again.
        ALTER TABLE artifacts ADD COLUMN removed_at TEXT;
        -- A picture has one id: its artifact takes that of its entry. Links made before this are no longer good.
        UPDATE artifacts SET public_id = (SELECT public_id FROM catalog WHERE artifact_id = artifacts.id)
            WHERE id IN (SELECT artifact_id FROM catalog);

        -- Files of removed images that are still on disk.
        CREATE TABLE removed_files (
            -- Relative to the images folder.
            path TEXT PRIMARY KEY
        ) STRICT, WITHOUT ROWID;
    """,
    "m007_what_keys_and_jobs_are_for": """
        -- The path of the request that the key was used for; null if that was before this column.
        ALTER TABLE idempotency_keys ADD COLUMN path TEXT;
        -- 1 if the job is for one request that waits for it, and for nobody if that goes away.
        ALTER TABLE jobs ADD COLUMN awaited INTEGER NOT NULL DEFAULT 0 CHECK (awaited IN (0, 1));
    """,
    "m008_operator": """
        -- The keys of a client that is disabled are refused.
        ALTER TABLE clients ADD COLUMN disabled_at TEXT;
        -- What a key is for, in the operator's words; and when it stops to be good, null if never.
        ALTER TABLE keys ADD COLUMN label TEXT NOT NULL DEFAULT '';
        ALTER TABLE keys ADD COLUMN expires_at TEXT;

        -- Jobs moved to the front have a place: the highest goes first. Null is the place that fairness gives.
        ALTER TABLE jobs ADD COLUMN front INTEGER;
        -- When the operator's command asked for the job's end; a running server looks for it.
        ALTER TABLE jobs ADD COLUMN cancel_requested_at TEXT;
        CREATE INDEX jobs_to_cancel ON jobs (id)
            WHERE cancel_requested_at IS NOT NULL AND status IN ('NOT_STARTED', 'IN_PROGRESS');
        CREATE INDEX jobs_failed ON jobs (ended_at) WHERE status = 'FAILURE';
        CREATE INDEX jobs_by_time ON jobs (created_at);

        -- One row while the operator has paused the queue.
        CREATE TABLE queue_pause (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            paused_at TEXT NOT NULL
        ) STRICT;

        -- A grant may be negative now: credits taken back.
        DROP TRIGGER entries_move_the_balance;
        DROP TRIGGER entries_are_never_changed;
        DROP TRIGGER entries_are_never_deleted;
        CREATE TABLE signed_entries (
            id INTEGER PRIMARY KEY,
            public_id TEXT NOT NULL UNIQUE,
            client_id INTEGER NOT NULL REFERENCES clients(id),
            kind TEXT NOT NULL CHECK (kind IN ('grant', 'charge', 'refund')),
            amount INTEGER NOT NULL,
            job_id INTEGER REFERENCES jobs(id),
            label TEXT NOT NULL,
            created_at TEXT NOT NULL,
            -- A job is charged at most once and refunded at most once; a grant belongs to no job.
            UNIQUE (job_id, kind),
            CHECK ((kind = 'grant') = (job_id IS NULL)),
            CHECK (CASE kind WHEN 'charge' THEN amount <= 0 WHEN 'refund' THEN amount >= 0 ELSE 1 END)
        ) STRICT;
        INSERT INTO signed_entries
            SELECT id, public_id, client_id, kind, amount, job_id, label, created_at FROM entries;
        DROP TABLE entries;
        ALTER TABLE signed_entries RENAME TO entries;
        CREATE INDEX entries_by_client ON entries (client_id, id);
        CREATE TRIGGER entries_move_the_balance AFTER INSERT ON entries BEGIN
            UPDATE clients SET balance = balance + NEW.amount WHERE id = NEW.client_id;
        END;
        CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries BEGIN
            SELECT RAISE(ABORT, 'ledger entries are append-only');
        END;
        CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries BEGIN
            SELECT RAISE(ABORT, 'ledger entries are append-only');
        END;
    """,
    "m009_working_memory": """
        -- What the images of a batch took beside the weights; null if it was not measured.
        ALTER TABLE sizes ADD COLUMN working_bytes INTEGER;
    """,
    "m010_webhook_secrets": """
        -- The secrets that were replaced: for a day each, deliveries are signed with them too.
        CREATE TABLE replaced_secrets (
            id INTEGER PRIMARY KEY,
            client_id INTEGER NOT NULL REFERENCES webhooks(client_id) ON DELETE CASCADE,
            secret TEXT NOT NULL,
            replaced_at TEXT NOT NULL
        ) STRICT;
        CREATE INDEX replaced_secrets_by_client ON replaced_secrets (client_id, replaced_at);
        INSERT INTO replaced_secrets (client_id, secret, replaced_at)
            SELECT client_id, previous_secret, set_at FROM webhooks WHERE previous_secret IS NOT NULL;
        ALTER TABLE webhooks DROP COLUMN previous_secret;
    """,
}

migrations = Migrations("backlot")


def _add(name: str, script: str) -> None:
    @migrations(name=name)
    def run(db: sqlite_utils.Database) -> None:
        # Statement by statement: `executescript` would commit the transaction that the migration runs in.
        statement = ""
        for line in script.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                db.execute(statement)
                statement = ""


for _name, _script in SCRIPTS.items():
    _add(_name, _script)
