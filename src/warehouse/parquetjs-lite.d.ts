/** The part of parquetjs-lite 0.8.7 that the warehouse uses; the package brings no types. */
declare module 'parquetjs-lite' {
  namespace parquetjs {
    export interface ColumnDefinition {
      readonly type: 'UTF8' | 'DOUBLE' | 'TIMESTAMP_MICROS';
      readonly optional?: boolean;
      readonly statistics?: boolean;
      readonly compression?: 'SNAPPY' | 'GZIP' | 'UNCOMPRESSED';
    }

    /** What the writer needs of a stream. */
    export interface ByteSink {
      write(bytes: Buffer, callback: (error?: Error) => void): void;
      end(callback: (error?: Error) => void): void;
    }

    export interface ChunkStatistics {
      min: Buffer | null;
      max: Buffer | null;
      min_value: Buffer | null;
      max_value: Buffer | null;
      null_count: number;
      distinct_count: number;
    }

    export class ParquetSchema {
      constructor(columns: Readonly<Record<string, ColumnDefinition>>);
    }

    export class ParquetWriter {
      static openStream(
        schema: ParquetSchema,
        stream: ByteSink,
        options: { readonly pageIndex?: boolean; readonly useDataPageV2?: boolean },
      ): Promise<ParquetWriter>;
      /** Finished row groups, as the footer will list them. */
      readonly envelopeWriter: {
        readonly rowGroups: readonly {
          readonly columns: readonly {
            readonly meta_data: {
              readonly path_in_schema: readonly string[];
              statistics: ChunkStatistics | null;
            };
          }[];
        }[];
      };
      setRowGroupSize(rows: number): void;
      setMetadata(key: string, value: string): void;
      appendRow(row: Readonly<Record<string, unknown>>): Promise<void>;
      close(): Promise<void>;
    }
  }

  export = parquetjs;
}
