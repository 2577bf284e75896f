import { z } from 'zod';
import { CowherdError } from '../../../core/errors.js';
import type { CloudSettings, ServiceType } from './settings.js';

/** The service catalog of a token: only the fields that are used. */
export const catalogSchema = z.array(
  z.object({
    type: z.string(),
    endpoints: z.array(z.object({ interface: z.string(), url: z.string(), region_id: z.string().nullish(), region: z.string().nullish() })),
  }),
);

export type Catalog = z.output<typeof catalogSchema>;

/** Other names of the same service, e.g. in clouds that offer several versions of an API. */
const aliases: Record<ServiceType, readonly string[]> = {
  compute: ['compute'],
  image: ['image', 'imagev2'],
  network: ['network'],
};

/**
 * The URL of a service, without a final slash.
 * @throws NOT_SUPPORTED if the cloud does not have it; BAD_USAGE if the region is missing or unknown
 */
export function endpointOf(catalog: Catalog, type: ServiceType, settings: CloudSettings): string {
  const override = settings.endpoints[type];
  if (override !== undefined) return override;
  const all = aliases[type].flatMap((alias) => catalog.filter((service) => service.type === alias)).flatMap(({ endpoints }) => endpoints);
  const offered = all.filter((endpoint) => endpoint.interface === settings.interface);
  if (offered.length === 0) throw noEndpoint(type, settings, [...new Set(all.map((endpoint) => endpoint.interface))]);
  const regions = [...new Set(offered.map((endpoint) => regionOf(endpoint)))].sort();
  const region = settings.region ?? (regions.length === 1 ? regions[0] : undefined);
  if (region === undefined || !regions.includes(region)) throw noRegion(type, settings, regions);
  const url = offered.find((endpoint) => regionOf(endpoint) === region)?.url ?? '';
  if (!URL.canParse(url) || !/^https?:/i.test(url)) {
    throw new CowherdError('CONNECTION_FAILED', `The ${type} endpoint in the service catalog of ${settings.title} is not a URL`, {
      hint: `Set ${type}_endpoint_override in ${settings.source}, or report it to the operator of the cloud.`,
    });
  }
  return url.replace(/\/+$/, '');
}

function regionOf(endpoint: Catalog[number]['endpoints'][number]): string {
  return endpoint.region_id ?? endpoint.region ?? '';
}

function noEndpoint(type: ServiceType, settings: CloudSettings, others: readonly string[]): CowherdError {
  return new CowherdError('NOT_SUPPORTED', `The service catalog of ${settings.title} has no ${settings.interface} ${type} endpoint`, {
    hint:
      others.length === 0
        ? `Check that your project may use the ${type} service ("openstack catalog list"), or set ${type}_endpoint_override.`
        : `Set the interface in ${settings.source} to ${[...others].sort().join(' or ')}.`,
  });
}

function noRegion(type: ServiceType, settings: CloudSettings, regions: readonly string[]): CowherdError {
  const message =
    settings.region === undefined
      ? `${settings.title} has several regions, and none is chosen`
      : `The ${type} service of ${settings.title} is not in region ${settings.region}`;
  return new CowherdError('BAD_USAGE', message.slice(0, 1).toUpperCase() + message.slice(1), {
    hint: `Set the region (region_name, or OS_REGION_NAME) in ${settings.source} to one of: ${regions.join(', ')}.`,
  });
}

/**
 * The root of the Compute API for its version document: the endpoint without a project id.
 * @param endpoint such as https://nova.example.org/v2.1/0123456789abcdef
 */
export function computeRoot(endpoint: string): string {
  return endpoint.replace(/(\/v2(?:\.\d+)?)(?:\/[^/]+)?$/, '$1');
}

/** The Image API below its endpoint, which is with or without a version. */
export function imageRoot(endpoint: string): string {
  return `${endpoint.replace(/\/v2(?:\.\d+)?$/, '')}/v2`;
}

/** The Networking API below its endpoint, which is with or without a version. */
export function networkRoot(endpoint: string): string {
  return `${endpoint.replace(/\/v2\.0$/, '')}/v2.0`;
}
