import { CowherdError, type ErrorCode } from '../../../core/errors.js';
import { UncertainError } from '../core/api-error.js';
import type { CloudSettings } from '../core/settings.js';
import type { TransportFailure } from './transport.js';

/** A request without a reply as an error with a hint. */
export function connectionError(
  action: string,
  failure: TransportFailure,
  host: string,
  settings: CloudSettings,
  isUncertain: boolean,
): CowherdError {
  const message = `Could not ${action}: ${failure.message} from ${host}`;
  const hint = hintOf(failure, settings);
  const code: ErrorCode = failure.kind === 'timeout' ? 'TOOL_TIMEOUT' : failure.kind === 'too-large' ? 'TOOL_FAILED' : 'CONNECTION_FAILED';
  return isUncertain ? new UncertainError(code, message, { hint }) : new CowherdError(code, message, { hint });
}

function hintOf({ kind }: TransportFailure, { source, title }: CloudSettings): string {
  if (kind === 'tls') return `If the cloud has its own CA, set cacert (or OS_CACERT) in ${source} to its file.`;
  if (kind === 'timeout') return 'The cloud may be overloaded. Run the command again later, with a lower --concurrency.';
  if (kind === 'too-large') return `Check the endpoints of ${title} in ${source}: the reply is not one of the OpenStack API.`;
  return `Check that ${title} can be reached from this host, and its URLs in ${source}.`;
}

/** A reply that is not what the API documents. */
export function unexpectedReply(action: string, service: string, findings: readonly string[]): CowherdError {
  return new CowherdError('TOOL_FAILED', `Could not ${action}: unexpected reply of the ${service} service`, {
    details: [...findings],
    hint: 'Check the endpoints in the service catalog ("openstack catalog list"). If they are right, report the release of the cloud as a bug.',
  });
}
