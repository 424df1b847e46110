// What a byte of codes stands for, from shared memory: a pair of levels of 4 bits, or a level of 8.
//
// For matrix units of CUDA, whose multiplications of float16 pairs run at half the rate of others:
// a polynomial takes twice the time of a look-up. It fills the table, though. Every lane reads a copy of its own, in a bank of
// its own. A row has room for two tables, so that one permutation of bytes makes an address. Longer
// heads would need more shared memory than some devices have.

#define TABLED(bits) (DIM <= LONGEST_TABLED && ((bits) == 4 || (bits) == 8))

enum {
    TABLE_ROW = 2 * LANES,
    TABLE_FLOATS = TABLED(KEY_BITS) || TABLED(VALUE_BITS) ? 256 * TABLE_ROW : 0,
    AT_VALUE_TABLE = TABLED(KEY_BITS) && KEY_BITS != VALUE_BITS ? LANES : 0
};

template <typename Codes>
FUNCTION void fill_table(Place at, SHARED float* table) {
    for (int byte = at.index; byte < 256; byte += THREADS) {
        const uint codes = Codes::BITS == 4 ? (byte & 15) | uint(byte >> 4) << 16 : byte;
        const uint found = pair_level<Codes>(&codes, 0);
        for (int i = 0; i < LANES / 4; i++) {  // no two lanes write to one bank
            store_quad(table + byte * TABLE_ROW + (i + byte) % (LANES / 4) * 4, found);
        }
    }
}

FUNCTION void fill_tables(Place at, SHARED float* tables) {
#if TABLED(KEY_BITS)
    fill_table<KeyCodes>(at, tables);
#endif
#if TABLED(VALUE_BITS) && KEY_BITS != VALUE_BITS
    fill_table<ValueCodes>(at, tables + AT_VALUE_TABLE);
#endif
}

// A way to read a lane's codes, like `ByPolynomial`.
template <typename Codes>
struct ByTable {
    enum {
        BITS = Codes::BITS,
        STREAM = (DIM / 8 * BITS + 31) / 32,
        KEY_WORDS = (DIM / 4 * BITS + 31) / 32
    };

    static FUNCTION int first_of(int pair) { return 2 * pair; }
    static FUNCTION int other_after() { return 1; }

    static FUNCTION void load_key(const GLOBAL uint* row, int first, LOCAL uint* words) {
        load_codes<BITS, DIM / 4>(row, first, words);
    }

    static FUNCTION void key(
        const LOCAL uint* words, LOCAL uint* pairs, const SHARED float* table, int lane
    ) {
        for (int i = 0; i < DIM / 8; i++) {
            if (BITS == 4) {
                pairs[i] = entry(table, words[i / 4], i % 4, lane);
            } else {
                pairs[i] = low_halves(
                    entry(table, words[i / 2], i % 2 * 2, lane),
                    entry(table, words[i / 2], i % 2 * 2 + 1, lane)
                );
            }
        }
    }

    static FUNCTION void arrange(const LOCAL uint* one, const LOCAL uint* two, LOCAL uint* chunks) {
        const uint mask = 0x0f0f0f0fu;
        for (int k = 0; k < STREAM; k++) {
            chunks[2 * k] = BITS == 4 ? (one[k] & mask) | (two[k] << 4 & ~mask) : one[k];
            chunks[2 * k + 1] = BITS == 4 ? (one[k] >> 4 & mask) | (two[k] & ~mask) : two[k];
        }
    }

    static FUNCTION void value(
        const LOCAL uint* chunks, LOCAL uint* pairs, const SHARED float* table, int lane
    ) {
        for (int i = 0; i < DIM / 8; i++) {
            if (BITS == 4) {
                pairs[i] = entry(table, chunks[i / 8 * 2 + i % 2], i % 8 / 2, lane);
            } else {
                const LOCAL uint* both = chunks + i / 4 * 2;
                pairs[i] =
                    low_halves(entry(table, both[0], i % 4, lane), entry(table, both[1], i % 4, lane));
            }
        }
    }
};
