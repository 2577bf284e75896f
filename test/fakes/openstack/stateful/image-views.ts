import { type CloudImage, type CloudServer, usualGuest, type World } from './world.js';

/** An image as the Image API shows it: properties are fields beside the others. */
export function imageView(world: World, image: CloudImage): Record<string, unknown> {
  const { id } = image;
  return {
    ...image.properties,
    ...{ id, name: image.name, status: image.status, disk_format: image.format, container_format: image.container },
    ...{ visibility: image.visibility, protected: image.isProtected, owner: image.owner, tags: image.tags, os_hidden: false },
    ...{
      min_disk: image.minDisk,
      min_ram: image.minRam,
      size: image.bytes,
      virtual_size: image.bytes === null ? null : image.virtualBytes,
    },
    ...{ os_hash_algo: image.sha512 === null ? null : 'sha512', os_hash_value: image.sha512, checksum: null },
    ...{ created_at: world.date(image.created), updated_at: world.date(image.updated) },
    ...{ self: `/v2/images/${id}`, file: `/v2/images/${id}/file`, schema: '/v2/schemas/image' },
    ...(image.status === 'active' ? { stores: 'disk' } : {}),
  };
}

export function newImage(world: World, fields: Partial<CloudImage>): CloudImage {
  const now = world.now();
  const image: CloudImage = {
    ...{ id: world.newId(), name: null, sequence: world.next(), status: 'queued', format: null, container: null, visibility: 'private' },
    ...{
      isProtected: false,
      owner: world.projectId,
      tags: [],
      properties: {},
      minDisk: 0,
      minRam: 0,
      bytes: null,
      virtualBytes: null,
      sha512: null,
    },
    ...{ created: now, updated: now, files: new Set<string>(), guest: usualGuest },
    ...fields,
  };
  world.images.set(image.id, image);
  world.usedImageIds.add(image.id);
  return image;
}

/** The image of a server before it has a file: with the properties of the server's own image, but not its tags. */
export function queueSnapshot(world: World, server: CloudServer, name: string, metadata: Record<string, string>): CloudImage {
  const properties = {
    ...server.imageProperties,
    ...{ base_image_ref: server.imageId, instance_uuid: server.id, user_id: world.userId, image_type: 'snapshot' },
    ...metadata,
  };
  return newImage(world, { name, properties, guest: server.guest });
}
