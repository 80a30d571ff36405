SET LOCAL ROLE modelyard_owner;

-- Whether another person must agree before a policy's live version changes: the rule as it was set, each time.
CREATE TABLE exp.approval_rules (
    approval_rule_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT approval_rules_pkey PRIMARY KEY,
    policy_id text NOT NULL CONSTRAINT approval_rules_policy_id_fkey REFERENCES exp.policies,
    required boolean NOT NULL,
    reason text NOT NULL CONSTRAINT approval_rules_reason_check CHECK (reason ~ '[^[:space:]]'),
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A person's consent that one version replaces another; one promotion uses it up.
CREATE TABLE exp.approvals (
    approval_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT approvals_pkey PRIMARY KEY,
    policy_id text NOT NULL,
    policy_version_id uuid NOT NULL,
    -- null: nothing was live
    replaces_policy_version_id uuid,
    reason text NOT NULL,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT approvals_policy_version_id_fkey FOREIGN KEY (policy_id, policy_version_id)
        REFERENCES exp.policy_versions (policy_id, policy_version_id),
    CONSTRAINT approvals_replaces_policy_version_id_fkey FOREIGN KEY (policy_id, replaces_policy_version_id)
        REFERENCES exp.policy_versions (policy_id, policy_version_id)
);
CREATE INDEX approvals_policy_version_id_idx ON exp.approvals (policy_version_id);

-- Each change of a policy's live version. Every row but a policy's first names the one before it, and no two name the
-- same: the log of a policy is one unbroken line.
CREATE TABLE exp.promotions (
    promotion_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT promotions_pkey PRIMARY KEY,
    previous_promotion_id bigint,
    policy_id text NOT NULL,
    kind text NOT NULL CONSTRAINT promotions_kind_check CHECK (kind IN ('promotion', 'rollback')),
    policy_version_id uuid NOT NULL,
    version integer NOT NULL,
    replaced_policy_version_id uuid,
    replaced_version integer,
    -- of a rollback: the promotion whose state it restores
    restores_promotion_id bigint,
    evaluation_id uuid CONSTRAINT promotions_evaluation_id_fkey REFERENCES exp.evaluations,
    approval_id bigint CONSTRAINT promotions_approval_id_fkey REFERENCES exp.approvals
        CONSTRAINT promotions_approval_id_key UNIQUE,
    reason text NOT NULL,
    request_id uuid NOT NULL CONSTRAINT promotions_request_id_key UNIQUE,
    -- as they were asked for: the same request id with others is refused
    arguments jsonb NOT NULL CONSTRAINT promotions_arguments_check CHECK (jsonb_typeof(arguments) = 'object'),
    actor text NOT NULL DEFAULT session_user,
    occurred_at timestamptz NOT NULL,
    CONSTRAINT promotions_policy_id_promotion_id_key UNIQUE (policy_id, promotion_id),
    CONSTRAINT promotions_previous_promotion_id_key UNIQUE NULLS NOT DISTINCT (policy_id, previous_promotion_id),
    CONSTRAINT promotions_previous_promotion_id_fkey FOREIGN KEY (policy_id, previous_promotion_id)
        REFERENCES exp.promotions (policy_id, promotion_id),
    CONSTRAINT promotions_restores_promotion_id_fkey FOREIGN KEY (policy_id, restores_promotion_id)
        REFERENCES exp.promotions (policy_id, promotion_id),
    CONSTRAINT promotions_policy_version_id_fkey FOREIGN KEY (policy_id, policy_version_id)
        REFERENCES exp.policy_versions (policy_id, policy_version_id),
    CONSTRAINT promotions_replaced_policy_version_id_fkey FOREIGN KEY (policy_id, replaced_policy_version_id)
        REFERENCES exp.policy_versions (policy_id, policy_version_id),
    CONSTRAINT promotions_replaced_check CHECK (
        (previous_promotion_id IS NULL) = (replaced_policy_version_id IS NULL)
        AND (replaced_policy_version_id IS NULL) = (replaced_version IS NULL)
        AND policy_version_id IS DISTINCT FROM replaced_policy_version_id
    ),
    CONSTRAINT promotions_evidence_check CHECK (
        CASE kind
            WHEN 'promotion' THEN evaluation_id IS NOT NULL AND restores_promotion_id IS NULL
            ELSE restores_promotion_id IS NOT NULL AND reason ~ '[^[:space:]]'
        END
    )
);
CREATE INDEX promotions_policy_id_occurred_at_idx ON exp.promotions (policy_id, occurred_at DESC);
CREATE INDEX promotions_policy_version_id_idx ON exp.promotions (policy_version_id);

CREATE TRIGGER approval_rules_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.approval_rules
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
CREATE TRIGGER approvals_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.approvals
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();
CREATE TRIGGER promotions_immutable_check BEFORE UPDATE OR DELETE OR TRUNCATE ON exp.promotions
FOR EACH STATEMENT EXECUTE FUNCTION exp.refuse_change();

-- The policy's row, locked: whoever changes what is live waits here for whoever did before.
CREATE FUNCTION exp.hold_policy(policy_id text) RETURNS exp.policies
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    held exp.policies;
BEGIN
    -- what is read after the lock must be what is there now, not what was when the transaction began
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE feature_not_supported USING
            MESSAGE = 'what is live is changed in a transaction of isolation READ COMMITTED only',
            CONSTRAINT = 'promotions_isolation_check';
    END IF;
    SELECT p.* INTO held FROM exp.policies AS p WHERE p.policy_id = hold_policy.policy_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING
            MESSAGE = format('there is no policy %s', hold_policy.policy_id),
            CONSTRAINT = 'promotions_version_check';
    END IF;
    RETURN held;
END
$$;

CREATE FUNCTION exp.get_policy_version(policy_id text, version integer) RETURNS exp.policy_versions
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    found_version exp.policy_versions;
BEGIN
    SELECT pv.* INTO found_version FROM exp.policy_versions AS pv
    WHERE pv.policy_id = get_policy_version.policy_id AND pv.version = get_policy_version.version;
    IF NOT FOUND THEN
        RAISE no_data_found USING
            MESSAGE = format('policy %s has no version %s', get_policy_version.policy_id, get_policy_version.version),
            CONSTRAINT = 'promotions_version_check';
    END IF;
    RETURN found_version;
END
$$;

-- Compare-and-set: refuses whoever decided while something else was live. 0 stands for nothing.
CREATE FUNCTION exp.expect_live(policy_id text, live_version integer, expected integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    last_change exp.promotions;
BEGIN
    IF expected IS NULL THEN
        RAISE null_value_not_allowed USING
            MESSAGE = 'say which version is live now, 0 for none',
            CONSTRAINT = 'promotions_expected_check';
    END IF;
    IF expected = coalesce(live_version, 0) THEN
        RETURN;
    END IF;
    SELECT l.* INTO last_change FROM exp.promotions AS l
    WHERE l.policy_id = expect_live.policy_id ORDER BY l.promotion_id DESC LIMIT 1;
    RAISE serialization_failure USING
        MESSAGE = CASE WHEN live_version IS NULL
            THEN format('policy %s has no live version, and version %s was expected to be live',
                        expect_live.policy_id, expected)
            ELSE format('policy %s has version %s live since %s UTC by %s, and %s was expected', expect_live.policy_id,
                        live_version, to_char(last_change.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
                        last_change.actor, CASE expected WHEN 0 THEN 'none' ELSE format('version %s', expected) END)
        END,
        CONSTRAINT = 'promotions_expected_check';
END
$$;

-- What an earlier call with this request id has done, or null.
CREATE FUNCTION exp.find_promotion_request(request_id uuid, arguments jsonb) RETURNS exp.promotions
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    done exp.promotions;
BEGIN
    SELECT l.* INTO done FROM exp.promotions AS l WHERE l.request_id = find_promotion_request.request_id;
    IF FOUND AND done.arguments <> find_promotion_request.arguments THEN
        RAISE unique_violation USING
            MESSAGE = format('request %s was made before, with other arguments', find_promotion_request.request_id),
            CONSTRAINT = 'promotions_request_id_key';
    END IF;
    RETURN done;
END
$$;

-- Writes a change of what is live: the log, the policy's row, the stages; the caller holds the policy and has checked.
CREATE FUNCTION exp.put_live(change exp.promotions) RETURNS exp.promotions
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    last_change exp.promotions;
    target exp.policy_versions;
    replaced exp.policy_versions;
    old_stage text;
BEGIN
    SELECT l.* INTO last_change FROM exp.promotions AS l
    WHERE l.policy_id = change.policy_id ORDER BY l.promotion_id DESC LIMIT 1;
    SELECT pv.* INTO target FROM exp.policy_versions AS pv WHERE pv.policy_version_id = change.policy_version_id;
    SELECT pv.* INTO replaced FROM exp.policy_versions AS pv
    WHERE pv.policy_version_id = change.replaced_policy_version_id;
    SELECT s.stage INTO old_stage FROM exp.stages AS s
    WHERE s.mlflow_model_name = target.mlflow_model_name AND s.mlflow_model_version = target.mlflow_model_version;

    INSERT INTO exp.promotions (
        previous_promotion_id, policy_id, kind, policy_version_id, version, replaced_policy_version_id,
        replaced_version, restores_promotion_id, evaluation_id, approval_id, reason, request_id, arguments, occurred_at
    ) VALUES (
        last_change.promotion_id, change.policy_id, change.kind, target.policy_version_id, target.version,
        replaced.policy_version_id, replaced.version, change.restores_promotion_id, change.evaluation_id,
        change.approval_id, change.reason, change.request_id, change.arguments,
        -- under the lock; a clock that was put back does not turn the order of history round
        greatest(clock_timestamp(), last_change.occurred_at)
    ) RETURNING promotions.* INTO change;
    UPDATE exp.policies AS p SET live_policy_version_id = target.policy_version_id
    WHERE p.policy_id = change.policy_id;

    -- another config of the model version that is live changes no stage
    IF target.mlflow_model_version IS DISTINCT FROM replaced.mlflow_model_version THEN
        IF replaced.policy_version_id IS NOT NULL THEN
            INSERT INTO exp.stage_transitions (
                mlflow_model_name, mlflow_model_version, policy_id, policy_version_id, from_stage, to_stage, reason,
                request_id
            ) VALUES (
                replaced.mlflow_model_name, replaced.mlflow_model_version, change.policy_id,
                replaced.policy_version_id, 'production', 'archived',
                format('replaced by version %s (%s)', target.version, change.kind), change.request_id
            );
        END IF;
        INSERT INTO exp.stage_transitions (
            mlflow_model_name, mlflow_model_version, policy_id, policy_version_id, from_stage, to_stage, evaluation_id,
            reason, request_id
        ) VALUES (
            target.mlflow_model_name, target.mlflow_model_version, change.policy_id, target.policy_version_id,
            old_stage, 'production', change.evaluation_id, change.reason, change.request_id
        );
    END IF;
    PERFORM pg_notify('modelyard_policy', change.policy_id);
    RETURN change;
END
$$;

-- Puts a version of a policy in production in place of the one that is expected to be live.
CREATE FUNCTION exp.promote(
    policy_id text, version integer, expected integer, reason text DEFAULT '',
    request_id uuid DEFAULT gen_random_uuid(), dry_run boolean DEFAULT false
) RETURNS exp.promotions
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    asked jsonb := jsonb_build_object(
        'kind', 'promotion', 'policy_id', promote.policy_id, 'version', promote.version,
        'expected', promote.expected, 'reason', coalesce(promote.reason, '')
    );
    policy exp.policies;
    target exp.policy_versions;
    live exp.policy_versions;
    current_gate exp.gates;
    shelved exp.stage_transitions;
    change exp.promotions;
    reasons text[] := '{}';
BEGIN
    policy := exp.hold_policy(promote.policy_id);
    change := exp.find_promotion_request(promote.request_id, asked);
    IF change.promotion_id IS NOT NULL THEN
        RETURN change;
    END IF;
    target := exp.get_policy_version(promote.policy_id, promote.version);
    SELECT pv.* INTO live FROM exp.policy_versions AS pv WHERE pv.policy_version_id = policy.live_policy_version_id;
    PERFORM exp.expect_live(promote.policy_id, live.version, promote.expected);

    IF live.policy_version_id = target.policy_version_id THEN
        reasons := reasons || 'it is live already'::text;
    END IF;
    SELECT t.* INTO shelved FROM exp.stage_transitions AS t
    WHERE t.mlflow_model_name = target.mlflow_model_name AND t.mlflow_model_version = target.mlflow_model_version
    ORDER BY t.stage_transition_id DESC LIMIT 1;
    IF shelved.from_stage = 'candidate' AND shelved.to_stage = 'archived' THEN
        reasons := reasons || format('it was archived by %s: %s (modelyard archive --undo)',
                                     shelved.actor, shelved.reason);
    END IF;
    SELECT g.* INTO current_gate FROM exp.gates AS g
    WHERE g.mlflow_model_name = target.mlflow_model_name ORDER BY g.gate_id DESC LIMIT 1;
    SELECT e.evaluation_id INTO change.evaluation_id
    FROM exp.evaluations AS e
    LEFT JOIN exp.policy_versions AS b ON e.baseline_policy_version_id = b.policy_version_id
    WHERE e.mlflow_model_name = target.mlflow_model_name AND e.mlflow_model_version = target.mlflow_model_version
        AND e.passed AND e.gate_sha256 = current_gate.gate_sha256 AND e.gate = current_gate.gate
        AND CASE
            -- another config of the model version that is live
            WHEN live.mlflow_model_version = target.mlflow_model_version THEN true
            ELSE b.mlflow_model_version IS NOT DISTINCT FROM live.mlflow_model_version
        END
    ORDER BY e.created_at DESC, e.evaluation_id LIMIT 1;
    IF change.evaluation_id IS NULL THEN
        reasons := reasons || format(
            '%s/%s has no passed evaluation under the gate as it is declared now, %s; evaluate it again '
            '(modelyard evaluate %s/%s, or promote with --evaluate)',
            target.mlflow_model_name, target.mlflow_model_version,
            CASE WHEN live.policy_version_id IS NULL THEN 'as a first version'
                ELSE format('against version %s (%s/%s), which it would replace',
                            live.version, live.mlflow_model_name, live.mlflow_model_version) END,
            target.mlflow_model_name, target.mlflow_model_version
        );
    END IF;
    IF policy.requires_approval THEN
        SELECT a.approval_id INTO change.approval_id FROM exp.approvals AS a
        WHERE a.policy_version_id = target.policy_version_id AND a.created_by <> session_user
            AND a.replaces_policy_version_id IS NOT DISTINCT FROM live.policy_version_id
            AND NOT EXISTS (SELECT FROM exp.promotions AS used WHERE used.approval_id = a.approval_id)
        ORDER BY a.approval_id DESC LIMIT 1;
        IF change.approval_id IS NULL THEN
            reasons := reasons || format('another person must approve it first (modelyard approve %s --version %s)',
                                         promote.policy_id, promote.version);
        END IF;
    END IF;
    IF reasons <> '{}' THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('version %s of policy %s is not promoted: %s',
                             promote.version, promote.policy_id, array_to_string(reasons, '; ')),
            HINT = CASE WHEN change.evaluation_id IS NULL AND cardinality(reasons) = 1 THEN 'evaluate' ELSE '' END,
            CONSTRAINT = 'promotions_refused_check';
    END IF;

    change.policy_id := promote.policy_id;
    change.kind := 'promotion';
    change.policy_version_id := target.policy_version_id;
    change.version := target.version;
    change.replaced_policy_version_id := live.policy_version_id;
    change.replaced_version := live.version;
    change.reason := coalesce(promote.reason, '');
    change.request_id := promote.request_id;
    change.arguments := asked;
    change.actor := session_user;
    IF promote.dry_run THEN
        RETURN change;
    END IF;
    RETURN exp.put_live(change);
END
$$;

-- Puts back what was live before the live version, or version N if it ever was live. Repeated, it walks back: what a
-- rollback restores is the state after an earlier promotion, and the next one restores the state before that.
CREATE FUNCTION exp.rollback(
    policy_id text, version integer, expected integer, reason text,
    request_id uuid DEFAULT gen_random_uuid(), dry_run boolean DEFAULT false
) RETURNS exp.promotions
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    asked jsonb := jsonb_build_object(
        'kind', 'rollback', 'policy_id', rollback.policy_id, 'version', rollback.version,
        'expected', rollback.expected, 'reason', rollback.reason
    );
    policy exp.policies;
    live exp.policy_versions;
    restored exp.promotions;
    change exp.promotions;
    refusal text;
BEGIN
    policy := exp.hold_policy(rollback.policy_id);
    change := exp.find_promotion_request(rollback.request_id, asked);
    IF change.promotion_id IS NOT NULL THEN
        RETURN change;
    END IF;
    SELECT pv.* INTO live FROM exp.policy_versions AS pv WHERE pv.policy_version_id = policy.live_policy_version_id;
    PERFORM exp.expect_live(rollback.policy_id, live.version, rollback.expected);
    IF rollback.version IS NOT NULL THEN
        PERFORM exp.get_policy_version(rollback.policy_id, rollback.version);
        SELECT l.* INTO restored FROM exp.promotions AS l
        WHERE l.policy_id = rollback.policy_id AND l.version = rollback.version AND l.kind = 'promotion'
        ORDER BY l.promotion_id DESC LIMIT 1;
    ELSE
        SELECT earlier.* INTO restored
        FROM (
            SELECT l.* FROM exp.promotions AS l
            WHERE l.policy_id = rollback.policy_id ORDER BY l.promotion_id DESC LIMIT 1
        ) AS last_change
        -- the promotion that made the state of now, what came before it, and the promotion that had made that
        INNER JOIN exp.promotions AS made
            ON made.promotion_id = coalesce(last_change.restores_promotion_id, last_change.promotion_id)
        INNER JOIN exp.promotions AS before ON before.promotion_id = made.previous_promotion_id
        INNER JOIN exp.promotions AS earlier
            ON earlier.promotion_id = coalesce(before.restores_promotion_id, before.promotion_id);
    END IF;
    refusal := CASE
        WHEN live.policy_version_id IS NULL THEN 'nothing is live'
        WHEN rollback.version = live.version THEN format('version %s is live already', live.version)
        WHEN restored.promotion_id IS NULL AND rollback.version IS NULL THEN
            format('nothing was live before version %s', live.version)
        WHEN restored.promotion_id IS NULL THEN
            format('version %s was never live; promote it', rollback.version)
        WHEN coalesce(rollback.reason, '') !~ '[^[:space:]]' THEN 'a rollback needs a reason'
    END;
    IF refusal IS NOT NULL THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('policy %s is not rolled back: %s', rollback.policy_id, refusal),
            CONSTRAINT = 'promotions_refused_check';
    END IF;

    change.policy_id := rollback.policy_id;
    change.kind := 'rollback';
    change.policy_version_id := restored.policy_version_id;
    change.version := restored.version;
    change.replaced_policy_version_id := live.policy_version_id;
    change.replaced_version := live.version;
    change.restores_promotion_id := restored.promotion_id;
    change.evaluation_id := restored.evaluation_id;
    change.reason := rollback.reason;
    change.request_id := rollback.request_id;
    change.arguments := asked;
    change.actor := session_user;
    IF rollback.dry_run THEN
        RETURN change;
    END IF;
    RETURN exp.put_live(change);
END
$$;

-- A candidate that will not be used; undo makes it one again.
CREATE FUNCTION exp.archive_version(policy_id text, version integer, reason text, undo boolean DEFAULT false)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    target exp.policy_versions;
    last_move exp.stage_transitions;
    refusal text;
BEGIN
    PERFORM exp.hold_policy(archive_version.policy_id);
    target := exp.get_policy_version(archive_version.policy_id, archive_version.version);
    SELECT t.* INTO last_move FROM exp.stage_transitions AS t
    WHERE t.mlflow_model_name = target.mlflow_model_name AND t.mlflow_model_version = target.mlflow_model_version
    ORDER BY t.stage_transition_id DESC LIMIT 1;
    refusal := CASE
        WHEN coalesce(archive_version.reason, '') !~ '[^[:space:]]' THEN 'a reason is needed'
        WHEN archive_version.undo AND (last_move.from_stage, last_move.to_stage) <> ('candidate', 'archived') THEN
            'it was not archived as a candidate'
        WHEN NOT archive_version.undo AND last_move.to_stage <> 'candidate' THEN
            format('%s/%s is no candidate, its stage is %s',
                   target.mlflow_model_name, target.mlflow_model_version, last_move.to_stage)
    END;
    IF refusal IS NOT NULL THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('version %s of policy %s is not %s: %s', archive_version.version,
                             archive_version.policy_id,
                             CASE WHEN archive_version.undo THEN 'brought back' ELSE 'archived' END, refusal),
            CONSTRAINT = 'promotions_refused_check';
    END IF;
    INSERT INTO exp.stage_transitions (
        mlflow_model_name, mlflow_model_version, policy_id, policy_version_id, from_stage, to_stage, reason
    ) VALUES (
        target.mlflow_model_name, target.mlflow_model_version, target.policy_id, target.policy_version_id,
        last_move.to_stage, CASE WHEN archive_version.undo THEN 'candidate' ELSE 'archived' END, archive_version.reason
    );
END
$$;

-- Consent to a promotion, by somebody who has neither asked for the training nor added the version.
CREATE FUNCTION exp.approve(policy_id text, version integer, expected integer, reason text DEFAULT '')
RETURNS exp.approvals
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    policy exp.policies;
    target exp.policy_versions;
    live exp.policy_versions;
    asked_by text;
    given exp.approvals;
    refusal text;
BEGIN
    policy := exp.hold_policy(approve.policy_id);
    target := exp.get_policy_version(approve.policy_id, approve.version);
    SELECT pv.* INTO live FROM exp.policy_versions AS pv WHERE pv.policy_version_id = policy.live_policy_version_id;
    PERFORM exp.expect_live(approve.policy_id, live.version, approve.expected);
    SELECT j.created_by INTO asked_by
    FROM exp.model_versions AS v INNER JOIN exp.jobs AS j ON v.job_id = j.job_id
    WHERE v.mlflow_model_name = target.mlflow_model_name AND v.mlflow_model_version = target.mlflow_model_version;
    refusal := CASE
        WHEN target.policy_version_id = live.policy_version_id THEN 'it is live already'
        WHEN target.created_by = session_user THEN 'nobody approves a version that they have added'
        WHEN asked_by = session_user THEN 'nobody approves a model that they have asked for'
    END;
    IF refusal IS NOT NULL THEN
        RAISE integrity_constraint_violation USING
            MESSAGE = format('version %s of policy %s is not approved: %s',
                             approve.version, approve.policy_id, refusal),
            CONSTRAINT = 'approvals_refused_check';
    END IF;
    SELECT a.* INTO given FROM exp.approvals AS a
    WHERE a.policy_version_id = target.policy_version_id AND a.created_by = session_user
        AND a.replaces_policy_version_id IS NOT DISTINCT FROM live.policy_version_id
        AND NOT EXISTS (SELECT FROM exp.promotions AS used WHERE used.approval_id = a.approval_id)
    ORDER BY a.approval_id DESC LIMIT 1;
    IF NOT FOUND THEN
        INSERT INTO exp.approvals (policy_id, policy_version_id, replaces_policy_version_id, reason)
        VALUES (target.policy_id, target.policy_version_id, live.policy_version_id, coalesce(approve.reason, ''))
        RETURNING approvals.* INTO given;
    END IF;
    RETURN given;
END
$$;

CREATE FUNCTION exp.require_approval(policy_id text, required boolean, reason text) RETURNS exp.policies
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
DECLARE
    policy exp.policies;
BEGIN
    policy := exp.hold_policy(require_approval.policy_id);
    IF policy.requires_approval IS DISTINCT FROM require_approval.required THEN
        INSERT INTO exp.approval_rules (policy_id, required, reason)
        VALUES (require_approval.policy_id, require_approval.required, require_approval.reason);
        UPDATE exp.policies AS p SET requires_approval = require_approval.required
        WHERE p.policy_id = require_approval.policy_id RETURNING p.* INTO policy;
    END IF;
    RETURN policy;
END
$$;

-- An evaluation, for whoever may promote and not train.
CREATE FUNCTION exp.submit_evaluation(arguments jsonb, fingerprint text, job_id uuid) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, exp, pg_temp AS $$
    SELECT exp.submit_job('evaluate', arguments, fingerprint, job_id)
$$;

GRANT SELECT ON exp.promotions, exp.approvals, exp.approval_rules TO trainer, evaluator, modelyard_viewer;
GRANT EXECUTE ON FUNCTION exp.promote, exp.rollback, exp.archive_version, exp.submit_evaluation TO modelyard_promoter;
GRANT EXECUTE ON FUNCTION exp.approve, exp.require_approval TO modelyard_approver;
