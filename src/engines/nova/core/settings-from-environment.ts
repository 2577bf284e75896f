import { type CloudEntry, cloudEntrySchema } from './settings-entry.js';

/** Fields of `auth`, named OS_ and the field in capitals. */
const authNames = [
  ...['auth_url', 'username', 'user_id', 'password', 'project_name', 'project_id', 'tenant_name', 'tenant_id'],
  ...['user_domain_name', 'user_domain_id', 'project_domain_name', 'project_domain_id', 'domain_name', 'domain_id'],
  ...['default_domain', 'default_domain_id', 'default_domain_name', 'system_scope'],
  ...['application_credential_id', 'application_credential_name', 'application_credential_secret'],
];

const otherNames = [
  ...['auth_type', 'identity_api_version', 'region_name', 'interface', 'endpoint_type'],
  ...['insecure', 'cacert', 'cert', 'key', 'compute_endpoint_override', 'image_endpoint_override', 'network_endpoint_override'],
];

/** The variable of a field. */
export function variableOf(field: string): string {
  return `OS_${field.toUpperCase()}`;
}

/** What the OS_* variables say. Other variables are not read. */
export function entryFromEnvironment(environment: Record<string, string | undefined>): CloudEntry {
  const pick = (fields: readonly string[]): Record<string, string | undefined> =>
    Object.fromEntries(fields.map((field) => [field, environment[variableOf(field)]]));
  return cloudEntrySchema.parse({ auth: pick(authNames), ...pick(otherNames) });
}
