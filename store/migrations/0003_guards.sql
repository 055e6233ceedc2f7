-- What the rows already there obey, and the database did not insist on yet.

CREATE TRIGGER tasks_no_delete BEFORE DELETE ON tasks
WHEN OLD.status <> 'STOPPED'
BEGIN SELECT RAISE(ABORT, 'a task is forgotten only after it has stopped'); END;

CREATE TRIGGER families_forward BEFORE UPDATE ON families
WHEN NEW.family <> OLD.family OR NEW.last_revision <= OLD.last_revision
BEGIN SELECT RAISE(ABORT, 'a revision is never used twice'); END;

CREATE TRIGGER families_no_delete BEFORE DELETE ON families
BEGIN SELECT RAISE(ABORT, 'a revision is never used twice'); END;

CREATE TRIGGER definitions_forward BEFORE UPDATE ON definitions
WHEN NEW.family <> OLD.family OR NEW.revision <> OLD.revision OR NEW.created_at <> OLD.created_at
     OR (OLD.status = 'INACTIVE' AND NEW.status <> 'INACTIVE')
BEGIN SELECT RAISE(ABORT, 'a definition keeps its name, and does not become ACTIVE again'); END;
