import { CowherdError, type ErrorCode } from '../../../core/errors.js';
import { excerpt } from '../../../core/guest/text.js';

/** An error reply of a service. */
export class ApiError extends CowherdError {
  constructor(
    code: ErrorCode,
    message: string,
    /** The HTTP status. */
    readonly status: number,
    extras: { hint: string; details: string[] },
  ) {
    super(code, message, extras);
    this.name = 'ApiError';
  }
}

/** Whether an error is a reply with this status. */
export function hasStatus(error: unknown, ...statuses: readonly number[]): error is ApiError {
  return error instanceof ApiError && statuses.includes(error.status);
}

/** Thrown if it is not known whether the server has done what was asked: the reply was lost, or says that something failed midway. */
export class UncertainError extends CowherdError {}

export interface ErrorReply {
  /** What was tried: "create server lab-1". */
  action: string;
  service: string;
  status: number;
  body: string;
  requestId: string | undefined;
}

/** An error reply as an error with a hint. */
export function apiError({ action, service, status, body, requestId }: ErrorReply): ApiError {
  const said = messageOf(body);
  const details = requestId === undefined ? [] : [`Request id for the operator of the cloud: ${excerpt(requestId)}`];
  const { code, hint } = meaningOf(status, said);
  return new ApiError(code, `Could not ${action}: ${said === '' ? `the ${service} service replied with status ${status}` : said}`, status, {
    hint,
    details,
  });
}

function meaningOf(status: number, said: string): { code: ErrorCode; hint: string } {
  if (status === 401) return { code: 'CONNECTION_FAILED', hint: 'Check user, password and project in clouds.yaml or the OS_* variables.' };
  if ((status === 403 || status === 413) && /quota|exceeded|limit/i.test(said)) {
    return {
      code: 'PREFLIGHT_FAILED',
      hint: 'Remove unused servers or images, or ask for a larger quota; see "openstack limits show --absolute".',
    };
  }
  if (status === 403)
    return { code: 'PREFLIGHT_FAILED', hint: 'Ask the operator of the cloud for the permission, or use another project.' };
  if (status === 404)
    return { code: 'FILE_NOT_FOUND', hint: 'List what exists in the project: "openstack server list", "openstack image list".' };
  if (status === 409)
    return { code: 'LOCKED', hint: 'Another task of the cloud is running for it. Wait until it has ended, and run the command again.' };
  if (status === 429 || status === 503) {
    return {
      code: 'CONNECTION_FAILED',
      hint: 'The cloud is overloaded or limits requests. Run the command again later, with a lower --concurrency.',
    };
  }
  if (status >= 500)
    return {
      code: 'TOOL_FAILED',
      hint: 'The cloud has failed. Run the command again; if it fails again, give the request id to the operator.',
    };
  return { code: 'TOOL_FAILED', hint: 'Check the names and values that are passed to the cloud: flavor, network, key, zone and image.' };
}

/** The message in an error reply: JSON of Nova, Keystone, Glance or Neutron, or a page of a proxy. One line, safe to show. */
export function messageOf(body: string): string {
  const text = body.slice(0, 64 * 1024);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return excerpt(withoutTags(text));
  }
  if (typeof value !== 'object' || value === null) return '';
  const record = value as Record<string, unknown>;
  const [inner] = Object.values(record).filter((one) => typeof one === 'object' && one !== null && 'message' in one);
  const message = typeof record.message === 'string' ? record.message : (inner as { message?: unknown } | undefined)?.message;
  return typeof message === 'string' ? excerpt(withoutTags(message)) : '';
}

function withoutTags(text: string): string {
  return text
    .replace(/<(head|style|script)\b[\s\S]*?<\/\1>/gi, ' ')
    .replace(/<[^<>]{0,200}>/g, ' ')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&#x27;', "'")
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replace(/\s+/g, ' ')
    .trim();
}
