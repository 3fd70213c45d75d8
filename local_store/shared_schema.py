"""The tables of a PostgreSQL database in which several machines keep their runs.

Whatever a model, a tool or a person said is sealed before it comes here. One row gives every event its number and is
held until the transaction ends: so numbers come in the order in which they can be seen, and who follows misses none.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
CHANNEL: Final = "sophia_runs"
TABLES: Final = """
CREATE SCHEMA sophia;

CREATE TABLE sophia.about (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    proof bytea NOT NULL,
    seq bigint NOT NULL DEFAULT 0
);

CREATE TABLE sophia.run (
    id text PRIMARY KEY,
    session_id text,
    parent text REFERENCES sophia.run (id) ON DELETE SET NULL,
    plan bytea NOT NULL,
    title bytea NOT NULL,
    summary bytea,
    status text NOT NULL
        CHECK (status IN ('planned', 'running', 'paused', 'waiting', 'finished', 'failed', 'cancelled')),
    events integer NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    finished_at bigint
);
CREATE INDEX run_by_use ON sophia.run (updated_at DESC, id DESC);
CREATE INDEX run_by_parent ON sophia.run (parent) WHERE parent IS NOT NULL;

CREATE TABLE sophia.run_event (
    seq bigint PRIMARY KEY,
    run_id text NOT NULL REFERENCES sophia.run (id) ON DELETE CASCADE,
    number integer NOT NULL,
    at bigint NOT NULL,
    kind text NOT NULL,
    step text NOT NULL,
    detail bytea NOT NULL,
    key text NOT NULL,
    UNIQUE (run_id, number),
    UNIQUE (run_id, key)
);

CREATE TABLE sophia.run_live (
    run_id text NOT NULL REFERENCES sophia.run (id) ON DELETE CASCADE,
    step text NOT NULL,
    live bytea NOT NULL,
    PRIMARY KEY (run_id, step)
);

CREATE TABLE sophia.worker (
    id text PRIMARY KEY,
    at bigint NOT NULL,
    worker jsonb NOT NULL
);

CREATE TABLE sophia.approval (
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    id text PRIMARY KEY,
    origin text NOT NULL CHECK (origin IN ('chat', 'run', 'macro')),
    origin_id text NOT NULL,
    run_id text REFERENCES sophia.run (id) ON DELETE CASCADE,
    step text NOT NULL,
    detail bytea NOT NULL,
    asked_at bigint NOT NULL,
    decided_at bigint,
    decision text CHECK (decision IN ('allow', 'deny', 'withdrawn')),
    verdict bytea,
    CHECK ((decision IS NULL) = (decided_at IS NULL)),
    CHECK ((run_id IS NOT NULL) = (origin = 'run'))
);
CREATE INDEX approval_open ON sophia.approval (seq) WHERE decision IS NULL;
CREATE INDEX approval_by_origin ON sophia.approval (origin, origin_id, seq);
CREATE INDEX approval_by_run ON sophia.approval (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE sophia.approval_rule (
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    id text PRIMARY KEY,
    rule bytea NOT NULL
);

CREATE FUNCTION sophia.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

CREATE FUNCTION sophia.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF NOT EXISTS (SELECT 1 FROM sophia.run WHERE id = old.run_id) THEN
            RETURN old;
        END IF;
    END IF;
    RAISE EXCEPTION 'the events of a run are append-only';
END $$;
CREATE TRIGGER appends_only BEFORE UPDATE OR DELETE ON sophia.run_event
    FOR EACH ROW EXECUTE FUNCTION sophia.refuse();
CREATE TRIGGER appends_only_all BEFORE TRUNCATE ON sophia.run_event
    FOR EACH STATEMENT EXECUTE FUNCTION sophia.refuse();

CREATE FUNCTION sophia.decided_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.decision IN ('allow', 'deny') OR new.detail <> old.detail OR new.id <> old.id THEN
        RAISE EXCEPTION 'an approval is decided once, and never asks for something else';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER decided_once BEFORE UPDATE ON sophia.approval
    FOR EACH ROW EXECUTE FUNCTION sophia.decided_once();

CREATE FUNCTION sophia.append(given jsonb) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
    said jsonb;
    was sophia.run;
    top bigint;
    here bigint := sophia.now_ms();
    numbers integer[] := '{}';
    becomes text;
BEGIN
    SELECT seq INTO top FROM sophia.about FOR UPDATE;
    FOR said IN SELECT * FROM jsonb_array_elements(given) LOOP
        SELECT * INTO was FROM sophia.run WHERE id = said->>'run';
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = said->>'run';
        END IF;
        IF EXISTS (SELECT 1 FROM sophia.run_event WHERE run_id = was.id AND key = said->>'key') THEN
            numbers := numbers || 0;
            CONTINUE;
        END IF;
        becomes := coalesce(said->>'status', was.status);
        IF was.status IN ('finished', 'failed', 'cancelled') AND becomes = was.status AND NOT (said->>'late')::boolean
        THEN
            RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = was.status;
        END IF;
        top := top + 1;
        INSERT INTO sophia.run_event (seq, run_id, number, at, kind, step, detail, key)
        VALUES (top, was.id, was.events + 1, here, said->>'kind', said->>'step',
                decode(said->>'detail', 'base64'), said->>'key');
        UPDATE sophia.run SET events = was.events + 1, status = becomes, updated_at = here,
            finished_at = CASE WHEN becomes IN ('finished', 'failed', 'cancelled')
                THEN coalesce(was.finished_at, here) END,
            summary = coalesce(decode(said->>'summary', 'base64'), was.summary)
        WHERE id = was.id;
        IF said->>'status' IN ('finished', 'failed', 'cancelled') THEN
            DELETE FROM sophia.run_live WHERE run_id = was.id;
            UPDATE sophia.approval SET decision = 'withdrawn', decided_at = here
            WHERE run_id = was.id AND decision IS NULL;
        END IF;
        numbers := numbers || was.events + 1;
    END LOOP;
    UPDATE sophia.about SET seq = top;
    PERFORM pg_notify('sophia_runs', top::text);
    RETURN numbers;
END $$;

CREATE FUNCTION sophia.forget(gone text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    was boolean;
BEGIN
    UPDATE sophia.about SET seq = seq + 1;
    DELETE FROM sophia.run WHERE id = gone;
    was := FOUND;
    PERFORM pg_notify('sophia_runs', '');
    RETURN was;
END $$;
"""
