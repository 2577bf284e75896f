import type { ErrorReport } from '../../../core/errors.js';
import type { ActionPlan, JobView, MemberDetail, MemoryView, Request } from '../../protocol.js';
import { parseSafely } from './safe-json.js';

/** The requests of the page. All paths are relative to it: it is below a secret path. */

export class ApiError extends Error {
  readonly report: ErrorReport;
  readonly status: number;

  constructor(report: ErrorReport, status: number) {
    super(report.message);
    this.report = report;
    this.status = status;
  }
}

export function reportOf(error: unknown): ErrorReport {
  if (error instanceof ApiError) return error.report;
  return { code: 'BUG', message: error instanceof Error ? error.message : String(error) };
}

export function memberPath(fleet: string, index: number): string {
  return `api/fleets/${encodeURIComponent(fleet)}/members/${index}`;
}

export function readMember(fleet: string, index: number, signal: AbortSignal): Promise<MemberDetail> {
  return json(memberPath(fleet, index), { signal });
}

export function readMemory(fleet: string, signal: AbortSignal): Promise<MemoryView> {
  return json(`api/fleets/${encodeURIComponent(fleet)}/memory`, { signal });
}

export function plan(request: Request, signal: AbortSignal): Promise<ActionPlan> {
  return json('api/plans', { ...posted(request), signal });
}

export function startJob(request: Request): Promise<JobView> {
  return json('api/jobs', posted(request));
}

export async function cancelJob(id: string): Promise<void> {
  await answer(`api/jobs/${encodeURIComponent(id)}/cancel`, posted({}));
}

/** At most 64 MiB. */
export async function readScreenshot(fleet: string, index: number, signal: AbortSignal): Promise<Blob> {
  const picture = await (await answer(`${memberPath(fleet, index)}/screenshot`, { signal })).blob();
  if (picture.size > 64 * 1024 * 1024) throw new ApiError({ code: 'BUG', message: 'The screenshot is larger than 64 MiB' }, 200);
  return picture;
}

function posted(body: unknown): RequestInit {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

async function json<T>(path: string, init: RequestInit): Promise<T> {
  return parseSafely(await (await answer(path, init)).text()) as T;
}

async function answer(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: 'same-origin', cache: 'no-store', ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(
      {
        code: 'CONNECTION_FAILED',
        message: 'cowherd dashboard does not answer',
        hint: 'If it has ended, start it again: cowherd dashboard',
      },
      0,
    );
  }
  if (response.ok) return response;
  throw new ApiError(await refusalIn(response), response.status);
}

async function refusalIn(response: Response): Promise<ErrorReport> {
  if (response.status === 401)
    return { code: 'BAD_USAGE', message: 'The session is not valid', hint: 'Open the URL that "cowherd dashboard" printed.' };
  try {
    const { error } = parseSafely(await response.text()) as { error?: ErrorReport };
    if (typeof error?.message === 'string') return error;
  } catch {
    // Not from the server of the dashboard.
  }
  return { code: 'BUG', message: `The server answered with status ${response.status}` };
}
