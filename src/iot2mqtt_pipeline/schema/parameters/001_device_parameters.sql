-- How the components of devices are decoded. The first seven columns are in the order that published statements rely
-- on; a row without component_id serves every id of its component that has no row of its own.

-- One counter for all rows, so that a version names one state of one row for ever.
CREATE SEQUENCE parameter_versions;

CREATE TABLE device_parameters (
    device_id text NOT NULL,
    connector_mode text NOT NULL,
    component_type text NOT NULL,
    component_id text,
    encoding_type text NOT NULL,
    units text,
    scaling_factor numeric NOT NULL DEFAULT 1,
    decode jsonb,
    version bigint NOT NULL DEFAULT nextval('parameter_versions'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (device_id, connector_mode, component_type, component_id)
);

-- Named sets of parameters for device models, and the one set that a device may have; its own rows go first.
CREATE TABLE parameter_templates (
    template text NOT NULL,
    connector_mode text NOT NULL,
    component_type text NOT NULL,
    component_id text,
    encoding_type text NOT NULL,
    units text,
    scaling_factor numeric NOT NULL DEFAULT 1,
    decode jsonb,
    version bigint NOT NULL DEFAULT nextval('parameter_versions'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (template, connector_mode, component_type, component_id)
);

CREATE TABLE device_templates (
    device_id text PRIMARY KEY,
    template text NOT NULL
);

-- What every version said, so that parameters_version of an old record can be looked up.
CREATE TABLE parameter_history (
    version bigint PRIMARY KEY,
    source text NOT NULL,
    parameters jsonb NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION parameters_renewed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := nextval('parameter_versions');
    NEW.created_at := OLD.created_at;
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE FUNCTION parameters_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO parameter_history (version, source, parameters)
    VALUES (NEW.version, TG_TABLE_NAME, to_jsonb(NEW) - 'version' - 'created_at' - 'updated_at')
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE FUNCTION parameters_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY device_parameters;
    RETURN NULL;
END
$$;

CREATE TRIGGER renewed BEFORE UPDATE ON device_parameters
FOR EACH ROW WHEN (OLD IS DISTINCT FROM NEW) EXECUTE FUNCTION parameters_renewed();
CREATE TRIGGER kept AFTER INSERT OR UPDATE ON device_parameters
FOR EACH ROW EXECUTE FUNCTION parameters_kept();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON device_parameters
FOR EACH STATEMENT EXECUTE FUNCTION parameters_changed();

CREATE TRIGGER renewed BEFORE UPDATE ON parameter_templates
FOR EACH ROW WHEN (OLD IS DISTINCT FROM NEW) EXECUTE FUNCTION parameters_renewed();
CREATE TRIGGER kept AFTER INSERT OR UPDATE ON parameter_templates
FOR EACH ROW EXECUTE FUNCTION parameters_kept();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON parameter_templates
FOR EACH STATEMENT EXECUTE FUNCTION parameters_changed();

CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON device_templates
FOR EACH STATEMENT EXECUTE FUNCTION parameters_changed();
