// Codes to levels: an odd polynomial of t = (2 code + 1) / 2^BITS - 1, which kernel_source.py writes
// for keys and for values from the codebook, in float32 and in float16 two at a time (those over a
// `unit`, which saves a multiplication).

template <typename Codes>
FUNCTION float level(uint code) {
    return Codes::polynomial((float(code) + 0.5f) * (2.0f / (1 << Codes::BITS)) - 1.0f);
}

// Coordinate `dim` of a packed row, without its scale.
template <typename Codes>
FUNCTION float coordinate(const GLOBAL uint* row, int dim) {
    enum { ROW = (DIM * Codes::BITS + 31) / 32 };
    const int word = dim * Codes::BITS / 32, offset = dim * Codes::BITS % 32;
    uint code = row[word] >> offset;
    if (32 % Codes::BITS != 0 && offset + Codes::BITS > 32) {
        code |= row[smaller(word + 1, ROW - 1)] << (32 - offset);
    }
    return level<Codes>(code & ((1u << Codes::BITS) - 1));
}

FUNCTION uint twice(uint half_bits) { return half_bits | half_bits << 16; }

// Where the code at a bit of a 16-bit chunk is brought: in float16's fraction, with room below it
// for the half of a code, and by as few shifts as serve several codes.
template <int BITS>
FUNCTION int reading_place(int bit) {
    const int most = 10 - BITS;
    if (bit >= 1 && bit <= most) return bit;
    if (bit >= 9 && bit - 8 <= most) return bit - 8;
    return BITS < most ? BITS : 1;
}

// Code i of the stream in the low halves of `chunks`, and of that in the high ones, as levels over
// `Codes::unit()`.
template <typename Codes>
FUNCTION uint pair_level(const LOCAL uint* chunks, int i) {
    enum { BITS = Codes::BITS };
    const int chunk = i * BITS / 16, bit = i * BITS % 16, place = reading_place<BITS>(bit);
    const uint mask = twice(((1u << BITS) - 1) << place);
    uint found;
    if (bit + BITS > 16) {
        const uint low = twice(((1u << (16 - bit)) - 1) << place);
        found = (chunks[chunk] >> (bit - place)) & low;
        found |= (chunks[chunk + 1] << (16 - bit + place)) & (mask ^ low);
    } else {
        found = bit >= place ? chunks[chunk] >> (bit - place) : chunks[chunk] << (place - bit);
    }
    // 1024 + 2^place (code + 1/2), then less 1024 and over 2^(place + BITS - 1), less 1.
    found = masked_or(found, mask, twice(0x6400 | 1u << (place - 1)));
    const int power = 11 - place - BITS;
    const uint factor = uint(power + 5) << 10;
    const uint offset = power >= 0 ? ((power + 15) << 10) + (1 << (10 - power))
                                   : (15 << 10) + (1 << (10 + power));
    return Codes::polynomial_of_pair(pair_multiply_add(found, twice(factor), twice(0x8000 | offset)));
}

// N codes of a row from the `first` on, that of `first` at bit 0.
template <int BITS, int N>
FUNCTION void load_codes(const GLOBAL uint* row, int first, LOCAL uint* words) {
    enum { COUNT = (N * BITS + 31) / 32, ROW = (DIM * BITS + 31) / 32 };
    if (N * BITS % 32 == 0) {
        load_words<COUNT, (COUNT % 4 == 0 && ROW % 4 == 0) ? 4 : (COUNT % 2 == 0 && ROW % 2 == 0) ? 2 : 1>(
            row + first / N * COUNT, words
        );
        return;
    }
    const int word = first * BITS / 32, offset = first * BITS % 32;
    for (int i = 0; i < COUNT; i++) {
        const uint low = row[smaller(word + i, ROW - 1)], high = row[smaller(word + i + 1, ROW - 1)];
        words[i] = funnel_shift(low, high, offset);
    }
}

// Two streams of words as chunks of 16 bits, the first stream's in the low halves.
template <int WORDS>
FUNCTION void interleave(const LOCAL uint* first, const LOCAL uint* second, LOCAL uint* chunks) {
    for (int i = 0; i < WORDS; i++) {
        chunks[2 * i] = low_halves(first[i], second[i]);
        chunks[2 * i + 1] = high_halves(first[i], second[i]);
    }
}
