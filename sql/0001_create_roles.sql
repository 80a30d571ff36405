-- Roles belong to the whole server, so they may exist already: from another database, or made by its administrator.
-- An existing role keeps its attributes. Passwords, and who may log in from where, are not decided here.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT *
        FROM (VALUES
            ('modelyard_owner', 'NOLOGIN'),
            ('mlflow_owner', 'NOLOGIN'),
            ('modelyard_viewer', 'NOLOGIN'),
            ('modelyard_trainer', 'NOLOGIN'),
            ('modelyard_promoter', 'NOLOGIN'),
            ('modelyard_approver', 'NOLOGIN'),
            -- two server workers with a pool of 5 + 10 connections each, and room for an upgrade beside them
            ('mlflow', 'LOGIN CONNECTION LIMIT 40'),
            ('trainer', 'LOGIN CONNECTION LIMIT 20'),
            ('evaluator', 'LOGIN CONNECTION LIMIT 20'),
            ('reader', 'LOGIN CONNECTION LIMIT 10'),
            ('backup', 'LOGIN CONNECTION LIMIT 4'),
            ('application', 'LOGIN CONNECTION LIMIT 20')
        ) AS roles (name, options)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = wanted.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.options);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- a migration of another database made it in this moment
            END;
        END IF;
        IF NOT pg_has_role(current_user, wanted.name, 'MEMBER WITH ADMIN OPTION') THEN
            RAISE insufficient_privilege USING
                MESSAGE = format('role %s exists already and %s may not administer it', wanted.name, current_user),
                HINT = format('as a superuser run: GRANT %I TO %I WITH ADMIN OPTION;', wanted.name, current_user);
        END IF;
    END LOOP;

    -- A superuser may act as any role. Anybody else who makes a role may administer it, not act as it, until told so.
    IF NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        GRANT modelyard_owner, mlflow_owner, mlflow TO CURRENT_USER WITH SET TRUE, INHERIT TRUE;
    END IF;
END
$$;

GRANT modelyard_viewer TO modelyard_trainer, modelyard_promoter, modelyard_approver;
