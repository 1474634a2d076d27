-- Operations that take away, put back and verify; what stops an operation until a person releases it.
--
-- A version before this one goes on working beside a later one: every column has a default. Jobs that don't give a right
-- have none in `role`, which an earlier version can't read: it hands out nothing while there is such a job, and does none.
-- So that nothing is taken away of which a later version doesn't know yet what was given, revocations wait until the
-- operations of the earlier one are covered.

ALTER TABLE operation
    ADD COLUMN kind text NOT NULL DEFAULT 'delegate',
    ADD COLUMN removed bigint NOT NULL DEFAULT 0,
    ADD COLUMN restored bigint NOT NULL DEFAULT 0,
    ADD COLUMN left_changed_since bigint NOT NULL DEFAULT 0,
    ADD COLUMN kept_by bigint NOT NULL DEFAULT 0,
    ADD COLUMN verified bigint NOT NULL DEFAULT 0,
    ADD COLUMN drifted bigint NOT NULL DEFAULT 0,
    ADD COLUMN repaired bigint NOT NULL DEFAULT 0,
    ADD COLUMN undoes uuid,
    ADD COLUMN trustee text NOT NULL DEFAULT '', -- of one that is about a trustee; then there is no delegation
    ADD COLUMN repair boolean NOT NULL DEFAULT false,
    ADD COLUMN named boolean NOT NULL DEFAULT false, -- its mailboxes are in operation_name
    ADD COLUMN listed_to uuid, -- the last mailbox listed from the records
    ADD COLUMN canary bigint NOT NULL DEFAULT 0, -- so many mailboxes are tried first
    ADD COLUMN tried_first bigint NOT NULL DEFAULT 0, -- of these, those that are listed
    ADD COLUMN held_back bigint NOT NULL DEFAULT 0, -- jobs that wait for those: they are ready since 1970
    ADD COLUMN hold text NOT NULL DEFAULT '', -- what stopped it
    ADD COLUMN covered boolean NOT NULL DEFAULT false; -- what it gave is in coverage
CREATE INDEX operation_from_records ON operation (id) WHERE state = 'listing' AND kind <> 'delegate';
CREATE INDEX operation_uncovered ON operation (tenant, id) WHERE kind = 'delegate' AND NOT covered;

-- Jobs to go on with, be the operation stopped.
CREATE INDEX job_begun ON job (operation_id, not_before, id) WHERE state = 'ready' AND begun_at IS NOT NULL;

CREATE TABLE operation_release (
    operation_id uuid NOT NULL,
    hold text NOT NULL,
    released_by text NOT NULL,
    ticket text NOT NULL,
    released_at timestamptz NOT NULL
);
CREATE INDEX operation_release_of ON operation_release (operation_id, released_at);

-- How many of its mailboxes failed for which reason, and how many of these a person has let pass.
CREATE TABLE operation_failure (
    operation_id uuid NOT NULL,
    reason text NOT NULL,
    failed bigint NOT NULL,
    passed bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (operation_id, reason)
);

-- Mailboxes that a request named: an address, or the key as text.
CREATE TABLE operation_name (
    operation_id uuid NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (operation_id, name)
);

ALTER TABLE job
    ADD COLUMN aim text NOT NULL DEFAULT 'grant', -- else put_back or verify
    ADD COLUMN left_rights text, -- put_back: what we left there; verify: what was last known. Empty: no entry
    ADD COLUMN to_rights text, -- put_back: what it was before; verify: the right that is wanted. Empty: no entry
    ADD COLUMN repair boolean NOT NULL DEFAULT false,
    ADD COLUMN undoes uuid, -- the job whose change is put back
    ADD COLUMN kept_by uuid; -- the delegation that wants the right

-- What we last left as the trustee's entry, and the job after which that was known. Without the job that began last, what that
-- one did is still to be taken into account.
ALTER TABLE begun
    ADD COLUMN ours text, -- null: we left nothing there. Empty: we took our entry away
    ADD COLUMN ours_by uuid, -- the job that left it
    ADD COLUMN known_of uuid;

-- Which mailboxes a delegation covers. A right is taken away only where no other delegation covers it.
CREATE TABLE coverage (
    tenant text NOT NULL,
    mailbox uuid NOT NULL,
    trustee text NOT NULL,
    delegation_id uuid NOT NULL,
    site text NOT NULL,
    address text NOT NULL, -- when it was listed last
    role text NOT NULL,
    lower_higher boolean NOT NULL,
    rights text NOT NULL, -- as last read
    state text NOT NULL, -- wanted; leaving: being taken away; released
    since uuid NOT NULL, -- the operation from which on it is covered without a break
    operation_id uuid NOT NULL, -- the last one that changed this
    PRIMARY KEY (tenant, mailbox, trustee, delegation_id)
) WITH (fillfactor = 90);
CREATE INDEX coverage_of_delegation ON coverage (delegation_id, mailbox) WHERE state <> 'released';
CREATE INDEX coverage_of_trustee ON coverage (tenant, trustee, mailbox) WHERE state <> 'released';
CREATE INDEX coverage_of_address ON coverage (tenant, address) WHERE state <> 'released';
