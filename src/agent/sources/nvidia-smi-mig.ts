/**
 * The MIG devices that `nvidia-smi -L` lists → one reading each. Pure. The query itself knows
 * nothing of MIG devices: in MIG mode a GPU's utilization is [N/A] there, and these lines are all
 * that says how it is divided.
 */
import type { Reading } from '../../client/reading.ts';
import { canonicalLabels } from './source-labels.ts';

const GPU = /^GPU (\d+): (.+) \(UUID: ([^)\s]+)\)\s*$/;
const MIG = /^\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-[^)\s]+)\)\s*$/;
/**
 * Older drivers build the UUID of the parent and two numbers: MIG-GPU-<uuid>/<instance>/<compute>.
 */
const OLD_UUID = /^MIG-(GPU-[0-9a-f-]+)\/(\d+)\/(\d+)$/i;
const MAX_DEVICES = 10_000;

/** `nvidia_smi_mig_device_info` = 1 for each MIG device in the listing. */
export function migDeviceReadings(listing: string, timestampMs: number): Reading[] {
  const readings: Reading[] = [];
  let gpu: RegExpExecArray | null = null;
  for (const line of listing.split('\n')) {
    gpu = GPU.exec(line) ?? gpu;
    const device = MIG.exec(line);
    if (device === null || gpu === null || readings.length >= MAX_DEVICES) continue;
    const [, index = '', model = '', uuid = ''] = gpu;
    const [, profile = '', number = '', migUuid = ''] = device;
    const old = OLD_UUID.exec(migUuid);
    const labels = canonicalLabels([
      ['gpu_index', index],
      ['gpu_model', model],
      ['gpu_uuid', uuid],
      ['gpu_instance_profile', profile],
      // The listing's "Device" counts within the GPU; it is not the instance id that DCGM speaks
      // of.
      ['gpu_instance_id', old?.[2] ?? ''],
      ['compute_instance_id', old?.[3] ?? ''],
      ['mig_device', number],
      ['mig_uuid', migUuid],
    ]);
    const name = 'nvidia_smi_mig_device_info';
    readings.push({ name, labels, kind: 'gauge', unit: 'bool', timestampMs, value: 1 });
  }
  return readings;
}
