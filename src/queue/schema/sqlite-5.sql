-- Version 5: how urgent a delivery is, and which policy decided about it. Times as in version 1.

ALTER TABLE message ADD COLUMN mt_priority INTEGER; -- as after MT-PRIORITY=; NULL if nothing was said
-- Higher classes are leased first: 1 urgent, 0 normal, -1 bulk.
ALTER TABLE delivery ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
-- The policy that decided, as a number made of its version. NULL: no policy is asked again, because a person let it
-- go on, the gateway wrote it itself, or it is older than this column.
ALTER TABLE delivery ADD COLUMN policy INTEGER;
DROP INDEX delivery_ready;
CREATE INDEX delivery_ready ON delivery (priority, ready_at) WHERE ready_at IS NOT NULL;
