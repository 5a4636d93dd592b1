export {
  type NodeProviderOptions,
  nodeProvider,
  type OpenSslProviderOptions,
  opensslProvider,
  type ProviderOptions,
  provider,
} from './node-provider.ts';
