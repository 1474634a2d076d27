-- What is forgotten after a time, and how far that has come: see retention.rs. The version before forgets nothing of this, and
-- works as it did: every column has a default, and nothing of it is read where a job goes its way.

-- In the order in which requests are accepted, so that nobody waits for each other.
CREATE INDEX request_age ON request (created_at);
CREATE INDEX event_subject_age ON event_subject (at) WHERE acting_until IS NULL;
CREATE INDEX dead_letter_resolved ON dead_letter (resolved_at) WHERE state <> 'waiting';

ALTER TABLE operation
    ADD COLUMN changes_kept boolean NOT NULL DEFAULT true, -- its numbered changes are still there
    ADD COLUMN forget_from timestamptz, -- its history is looked through when the cut-off has passed this; null: its end
    ADD COLUMN forgotten_to uuid, -- in that, the last job that was looked at; null: none yet
    ADD COLUMN forgotten bigint NOT NULL DEFAULT 0; -- jobs of it that are not kept any more; counts still count them
CREATE INDEX operation_with_changes ON operation (ended_at) WHERE changes_kept AND ended_at IS NOT NULL;
CREATE INDEX operation_to_forget ON operation ((COALESCE(forget_from, ended_at))) WHERE ended_at IS NOT NULL;
