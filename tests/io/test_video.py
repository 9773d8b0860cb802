"""Every kind of film, checked against pixels and times that are known."""

from __future__ import annotations

import os
import pickle
import sys
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from conftest import SHARED
from mien.errors import MienError
from mien.io.video import base as module
from mien.io.video import frame_rate_warning, frames_video, natural_order, open_video, to_uint8, write_video
from mien.preprocessing.prepare import video_clip

Array = NDArray[Any]


def noise(*shape: int, seed: int = 0, dtype: Any = np.uint8) -> Array:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def moving(n: int = 60, height: int = 48, width: int = 64) -> Iterator[Array]:
    """A soft texture that slides; every frame differs from every other one."""
    ground = cv2.GaussianBlur(noise(height + n, width + n, 3), (0, 0), 2)
    ground = cv2.normalize(ground, None, 0, 255, cv2.NORM_MINMAX)
    for t in range(n):
        yield np.ascontiguousarray(ground[t : t + height, t : t + width])


def encode(path: Path, n: int = 60, options: dict[str, str] | None = None, **stream: Any) -> Path:
    """H.264 with B-frames and few key frames, by FFmpeg alone; the same film each time, which takes one thread."""
    with av.open(str(path), "w") as container:
        out = container.add_stream(
            "libx264", 100, options={"bf": "3", "g": "20", "sc_threshold": "0", "threads": "1", **(options or {})}
        )
        out.height, out.width, out.pix_fmt = 48, 64, stream.pop("pix_fmt", "yuv420p")
        if "rotation" in stream:
            out.set_display_rotation(stream["rotation"], hflip=stream.get("hflip", False))
        for t, pixels in enumerate(moving(n)):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = t, Fraction(1, 100)
            container.mux(out.encode(picture))
        container.mux(out.encode())
    return path


def decoded_plainly(path: Path) -> list[Array]:
    """All frames from first to last, one thread, no seeking: the slow and obvious way."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        return [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]


def save(path: Path, pixels: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


# Lossless writing and reading


@pytest.mark.parametrize(
    "film", [noise(7, 33, 41), noise(7, 33, 41, 3), noise(7, 33, 41, dtype=np.uint16)], ids=["grey", "rgb", "grey16"]
)
def test_lossless_films_come_back_bit_for_bit(tmp_path: Path, film: Array) -> None:
    video = open_video(write_video(tmp_path / "film.mkv", film, 200))
    assert (video.height, video.width, video.colour) == (33, 41, film.ndim == 4)
    assert video.depth == 8 * film.itemsize
    assert (video.n_frames, video.fps, video.variable_rate, video.name) == (7, 200, False, "film")
    back = video.read()
    assert back.dtype == film.dtype
    assert np.array_equal(back, film)
    assert [frame.time for frame in video.frames()] == pytest.approx(np.arange(7) / 200, abs=1e-6)
    assert video.problems == []


@pytest.mark.parametrize("ending", [".mkv", ".mp4"])
def test_true_times_of_a_variable_rate(tmp_path: Path, ending: str) -> None:
    times = np.cumsum([0, 0.010, 0.033, 0.005, 0.200, 0.011, 0.007, 0.040])
    path = write_video(tmp_path / f"film{ending}", moving(8), 100, times=list(times + 5))
    video = open_video(path)
    assert [frame.time for frame in video.frames()] == pytest.approx(times, abs=0.0006)
    assert video.variable_rate is True
    assert video.fps == pytest.approx(7 / times[-1], rel=0.01)
    assert video.frame(4).time == pytest.approx(times[4], abs=0.0006)


@pytest.mark.parametrize("fps", [25, 30000 / 1001, 200, 999])
def test_frame_rate_survives_the_millisecond_of_matroska(tmp_path: Path, fps: float) -> None:
    video = open_video(write_video(tmp_path / "film.mkv", moving(40), fps))
    assert video.fps == pytest.approx(fps, rel=1e-5)
    assert video.variable_rate is False


def test_a_given_rate_replaces_the_times_of_the_file(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "film.mkv", moving(9), 30), fps=300)
    assert video.fps == 300
    assert [frame.time for frame in video.frames(6)] == pytest.approx([6 / 300, 7 / 300, 8 / 300])


def test_nothing_is_left_of_a_film_that_fails(tmp_path: Path) -> None:
    def breaks() -> Iterator[Array]:
        yield from moving(5)
        raise RuntimeError("the model broke")

    for ending in (".mkv", ".mp4", ".gif"):
        old = tmp_path / f"film{ending}"
        old.write_bytes(b"what was there")
        with pytest.raises(RuntimeError):
            write_video(old, breaks(), 50)
        assert old.read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("name", "frames", "more", "found"),
    [
        ("film.avi", noise(2, 8, 8), {}, "avi"),
        ("film.mkv", noise(0, 8, 8), {}, "0 frames"),
        ("film.mkv", [noise(8, 8), noise(8, 9)], {}, "Frame 1"),
        ("film.mkv", noise(2, 8, 8).astype(float), {}, "float64"),
        ("film.mkv", noise(3, 8, 8), {"times": [0, 0.1]}, "Frame 2"),
        ("film.mkv", noise(3, 8, 8), {"times": [0, 0.2, 0.1]}, "Frame 2"),
        ("film.mkv", noise(3, 8, 8), {"times": [0, 0.1, 0.2, 0.3]}, "4 times"),
        ("film.mkv", noise(3, 8, 8), {"fps": 5000}, "Frame 1"),
        ("film.mp4", noise(3, 8, 8), {"fps": 0}, "frame rate 0"),
    ],
)
def test_films_that_cannot_be_written(tmp_path: Path, name: str, frames: Any, more: dict[str, Any], found: str) -> None:
    with pytest.raises(MienError) as error:
        write_video(tmp_path / name, frames, more.pop("fps", 100), **more)
    assert found in error.value.found
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MienError, match="cannot be written"):
        write_video(tmp_path / "file" / "film.mp4", moving(2), 30)


def test_mp4_shows_what_was_written_also_with_odd_sides(tmp_path: Path) -> None:
    film = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in moving(12, 47, 65)])
    video = open_video(write_video(tmp_path / "film.mp4", film, 60))
    assert (video.height, video.width, video.n_frames, video.fps) == (48, 66, 12, 60)
    assert np.abs(video.read()[:, :47, :65].astype(float) - film).mean() < 5
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in film]).astype(float)
    assert np.abs(video.read(grey=True)[:, :47, :65] - grey).mean() < 2


# Exact access


@pytest.mark.parametrize("options", [{}, {"g": "250"}, {"x264-params": "open-gop=1:keyint=12:bframes=3"}])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi", ".ts", ".h264"])
def test_every_frame_reached_directly_is_the_one_in_the_sequence(
    tmp_path: Path, ending: str, options: dict[str, str]
) -> None:
    path = encode(tmp_path / f"film{ending}", 45, options)
    plain = decoded_plainly(path)
    video = open_video(path)
    assert video.n_frames == len(plain) == 45
    in_order = list(video.frames())
    assert [frame.index for frame in in_order] == list(range(45))
    for index, pixels in enumerate(plain):
        assert np.array_equal(in_order[index].pixels, pixels)
        if index % 3 == 0 or index in (19, 20, 44):
            direct = video.frame(index)
            assert (direct.index, direct.time) == (index, in_order[index].time)
            assert np.array_equal(direct.pixels, pixels), index


def test_a_part_and_every_third_frame(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mp4")
    plain = decoded_plainly(path)
    some = list(open_video(path).frames(7, 52, 3))
    assert [frame.index for frame in some] == list(range(7, 52, 3))
    assert all(np.array_equal(frame.pixels, plain[frame.index]) for frame in some)
    assert list(open_video(path).frames(5, 5)) == []
    assert np.array_equal(open_video(path).read(58), plain[58:])


def test_a_film_that_starts_between_key_frames_counts_from_its_first_whole_frame(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.ts", 60)
    plain = decoded_plainly(whole)
    with av.open(str(whole)) as source, av.open(str(tmp_path / "cut.ts"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size and number >= 5:
                packet.stream = stream
                target.mux(packet)
    video = open_video(tmp_path / "cut.ts")
    assert video.n_frames == 40
    assert np.array_equal(video.frame(0).pixels, plain[20])
    assert np.array_equal(video.frame(31).pixels, plain[51])
    assert [frame.index for frame in video.frames()] == list(range(40))
    assert "15 packet(s)" in video.problems[0]


def test_dropped_frames_of_avi_are_gaps_in_time(tmp_path: Path) -> None:
    ticks = [0, 1, 2, 6, 7, 9]
    with av.open(str(tmp_path / "film.avi"), "w") as container:
        out = container.add_stream("mpeg4", 100)
        out.height, out.width, out.pix_fmt = 48, 64, "yuv420p"
        for t, pixels in zip(ticks, moving(6), strict=True):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = t, Fraction(1, 100)
            container.mux(out.encode(picture))
        container.mux(out.encode())
    video = open_video(tmp_path / "film.avi")
    frames = list(video.frames())
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.time for frame in frames] == pytest.approx(np.array(ticks) / 100)
    assert video.variable_rate is True
    assert np.array_equal(video.frame(4).pixels, frames[4].pixels)
    assert video.problems == []


def test_videos_travel_between_processes(tmp_path: Path) -> None:
    video = open_video(encode(tmp_path / "film.mp4", 10))
    assert video.n_frames == 10
    again = pickle.loads(pickle.dumps(video))
    assert np.array_equal(again.frame(6).pixels, video.frame(6).pixels)


def test_indices_out_of_range(tmp_path: Path) -> None:
    video = open_video(encode(tmp_path / "film.mp4", 10))
    with pytest.raises(MienError, match="10 frames, 0 to 9"):
        video.frame(10)
    with pytest.raises(MienError, match="count from 0"):
        video.frames(-1)
    with pytest.raises(MienError, match="hold nothing"):
        video.read(10)
    assert list(video.frames(10)) == []
    assert video.problems == []


# Pixels


@pytest.mark.parametrize(
    ("rotation", "hflip"), [(0, False), (90, False), (-90, False), (180, False), (0, True), (90, True)]
)
def test_rotation_tags_are_followed(tmp_path: Path, rotation: int, hflip: bool) -> None:
    path = encode(tmp_path / "film.mp4", 5, rotation=rotation, hflip=hflip)
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0))
        matrix: Any = stored.side_data.get("DISPLAYMATRIX")
        a, b, _, c, d, _, _, _, _ = np.frombuffer(matrix, np.int32) / 65536 if matrix else (1, 0, 0, 0, 1, 0, 0, 0, 0)
    plain = decoded_plainly(path)[0]
    height, width = plain.shape[:2]
    # The definition, pixel by pixel: (x, y) is shown at (a x + c y, b x + d y), moved into the picture.
    y, x = np.mgrid[:height, :width]
    to_x, to_y = np.rint(a * x + c * y).astype(int), np.rint(b * x + d * y).astype(int)
    to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
    upright = np.zeros((to_y.max() + 1, to_x.max() + 1, 3), np.uint8)
    upright[to_y, to_x] = plain
    video = open_video(path)
    assert (video.height, video.width) == upright.shape[:2] == ((64, 48) if rotation in (90, -90) else (48, 64))
    assert np.array_equal(video.frame(0).pixels, upright)


def test_rotation_by_the_meaning_of_its_name(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mp4", 3, rotation=90)
    assert np.array_equal(open_video(path).frame(2).pixels, np.rot90(decoded_plainly(path)[2]))


def test_grey_of_a_colour_film_is_its_luma_over_the_whole_range(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mp4", 3)
    with av.open(str(path)) as container:
        luma = next(container.decode(video=0)).to_ndarray()[:48].astype(float)
    grey = open_video(path).frame(0, grey=True).pixels
    assert grey.shape == (48, 64)
    assert np.abs(grey - np.clip((luma - 16) * 255 / 219, 0, 255)).max() <= 0.5
    # FFmpeg's fast conversion to RGB, which OpenCV uses too, rounds down: a level or two darker.
    colour = cv2.cvtColor(open_video(path).frame(0).pixels, cv2.COLOR_RGB2GRAY).astype(float)
    assert np.abs(grey - colour).mean() < 2
    assert np.abs(grey - colour).max() <= 4


@pytest.mark.parametrize("layout", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p"])
def test_grey_is_what_ffmpeg_makes_of_each_layout(tmp_path: Path, layout: str) -> None:
    path = encode(tmp_path / "film.mkv", 2, pix_fmt=layout)
    with av.open(str(path)) as container:
        plainly = [picture.to_ndarray(format="gray") for picture in container.decode(video=0)]
    for index, expected in enumerate(plainly):
        assert np.array_equal(open_video(path).frame(index, grey=True).pixels, expected)


def test_grey_of_a_film_whose_luma_has_other_weights_goes_through_rgb(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mp4", 3, {"x264-params": "colormatrix=bt709"})
    video = open_video(path)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).colorspace == 1
    expected = cv2.cvtColor(video.frame(1).pixels, cv2.COLOR_RGB2GRAY)
    assert np.array_equal(video.frame(1, grey=True).pixels, expected)


def test_ten_bits_fill_sixteen(tmp_path: Path) -> None:
    deep = open_video(encode(tmp_path / "deep.mkv", 3, pix_fmt="yuv420p10le"))
    frame = deep.frame(0).pixels
    assert deep.depth == 10
    assert frame.dtype == np.uint16
    assert deep.colour
    assert np.abs(to_uint8(frame) - decoded_plainly(tmp_path / "deep.mkv")[0].astype(float)).mean() < 2.5
    with av.open(str(tmp_path / "deep.mkv")) as container:
        stored = next(container.decode(video=0))
        luma = np.frombuffer(stored.planes[0], np.uint16).reshape(48, -1)[:, :64].astype(float)  # type: ignore[call-overload]
    expected = np.clip((luma - 64) * 65535 / 876, 0, 65535)
    assert np.abs(deep.frame(0, grey=True).pixels - expected).max() < 65  # one step of ten bits


def test_sixteen_bits_to_eight_by_one_rule() -> None:
    levels = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_uint8(levels), np.round(levels / 257))
    twelve = np.arange(4096, dtype=np.uint16)
    assert np.array_equal(to_uint8(twelve, depth=12), np.floor(twelve * (255 / 4095) + 0.5))
    assert to_uint8(np.array([5000], np.uint16), depth=12) == 255
    dark = noise(9, 9, dtype=np.uint16) // 100
    assert np.array_equal(to_uint8(np.stack([dark, dark + 30000]))[0], to_uint8(dark))
    same = noise(4, 4)
    assert to_uint8(same) is same or np.shares_memory(to_uint8(same), same)
    with pytest.raises(MienError, match="float64"):
        to_uint8(np.zeros(3))


# Folders of pictures


def test_a_folder_is_read_in_natural_order_and_other_files_are_passed_over(tmp_path: Path) -> None:
    pictures = {f"img{n}.png": noise(6, 8, 3, seed=n) for n in (1, 2, 10, 11, 100)}
    for name in sorted(pictures, reverse=True):
        save(tmp_path / "sub01" / name, pictures[name][..., ::-1])
    for name in ("Thumbs.db", "notes.txt", "._img1.png"):
        (tmp_path / "sub01" / name).write_text("no picture")
    (tmp_path / "sub01" / "img3.png.d").mkdir()
    video = open_video(tmp_path / "sub01", fps=200)
    assert (video.name, video.n_frames, video.fps, video.variable_rate) == ("sub01", 5, 200, False)
    assert np.array_equal(video.read(), np.stack(list(pictures.values())))
    assert [frame.time for frame in video.frames()] == pytest.approx([0, 0.005, 0.01, 0.015, 0.02])
    assert np.array_equal(video.frame(3).pixels, pictures["img11.png"])
    assert np.array_equal(video.read(1, 3), np.stack(list(pictures.values()))[1:3])
    assert [frame.index for frame in video.frames(0, None, 2)] == [0, 2, 4]
    assert video.problems == []


def test_natural_order_of_names() -> None:
    names = ["img10.jpg", "IMG2.jpg", "img1.jpg", "a²b", "img02_10", "img2_9"]
    assert sorted(names, key=natural_order) == ["a²b", "img1.jpg", "IMG2.jpg", "img2_9", "img02_10", "img10.jpg"]


def test_without_a_rate_pictures_have_no_times(tmp_path: Path) -> None:
    save(tmp_path / "1.png", noise(6, 8))
    video = open_video(tmp_path)
    assert video.fps is None
    assert video.variable_rate is None
    assert np.isnan(video.frame(0).time)
    assert (video.n_frames, video.colour) == (1, False)


def test_kinds_of_pictures(tmp_path: Path) -> None:
    grey16, colour = noise(6, 8, dtype=np.uint16), noise(6, 8, 3)
    assert np.array_equal(open_video(save(tmp_path / "a.png", grey16)).frame(0).pixels, grey16)
    assert np.array_equal(open_video(save(tmp_path / "a.tif", grey16)).frame(0).pixels, grey16)
    assert np.array_equal(open_video(save(tmp_path / "b.tif", colour[..., ::-1])).frame(0).pixels, colour)

    clear = noise(6, 8, 4)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    black = np.round(clear[..., :3] * (clear[..., 3:] / 255.0))
    assert np.array_equal(open_video(tmp_path / "clear.png").frame(0).pixels, black)

    few = Image.fromarray(colour).quantize(16)
    few.save(tmp_path / "few.png")
    assert np.array_equal(open_video(tmp_path / "few.png").frame(0).pixels, np.asarray(few.convert("RGB")))

    turned = Image.fromarray(np.repeat(np.repeat(colour, 16, 0), 16, 1))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = open_video(tmp_path / "turned.jpg")
    assert (upright.height, upright.width) == (128, 96)
    expected = np.rot90(np.asarray(Image.open(tmp_path / "turned.jpg")), -1).astype(float)
    assert np.abs(upright.frame(0).pixels - expected).mean() < 1


def test_names_outside_ascii(tmp_path: Path) -> None:
    (tmp_path / "visage é 顔").mkdir()
    Image.fromarray(noise(6, 8)).save(tmp_path / "visage é 顔" / "image ü1.png")
    assert open_video(tmp_path / "visage é 顔").n_frames == 1
    assert open_video(write_video(tmp_path / "visage é 顔" / "φιλμ.mkv", noise(3, 6, 8), 100)).n_frames == 3


def test_frames_of_a_database_and_a_list_of_paths(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.jpg", noise(16, 16, 3, seed=n)) for n in (5, 3, 9)]
    video = frames_video(paths, 100, "EP02_01f")
    assert (video.name, video.n_frames, video.fps) == ("EP02_01f", 3, 100)
    assert np.array_equal(video.frame(1).pixels, open_video(paths[1]).frame(0).pixels)
    assert np.array_equal(open_video([str(p) for p in paths]).read(), video.read())


def test_differing_sizes_name_both(tmp_path: Path) -> None:
    save(tmp_path / "1.png", noise(6, 8))
    save(tmp_path / "2.png", noise(6, 9))
    with pytest.raises(MienError) as error:
        open_video(tmp_path).read()
    assert "2.png is 9x6" in error.value.found
    assert "1.png is 8x6" in error.value.found


def test_kinds_within_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "1.png", noise(6, 8, 3))
    grey = noise(6, 8)
    save(tmp_path / "2.png", grey)
    video = open_video(tmp_path)
    assert np.array_equal(video.frame(1).pixels, np.stack([grey] * 3, -1))
    save(tmp_path / "3.png", noise(6, 8, 3, dtype=np.uint16))
    with pytest.raises(MienError, match=r"3\.png is colour of 16 bits"):
        video.__class__.frame(open_video(tmp_path), 2)


def test_a_broken_picture_is_left_out_and_told(tmp_path: Path) -> None:
    for n in range(5):
        save(tmp_path / f"{n}.png", noise(6, 8, seed=n))
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "2.png").write_bytes(b"not a picture")
    video = open_video(tmp_path, fps=50)
    assert [frame.index for frame in video.frames()] == [1, 3, 4]
    assert len(video.read()) == 3
    assert any("2.png" in problem for problem in video.problems)
    assert any("Frame 2 cannot" in problem for problem in video.problems)
    n_problems = len(video.problems)
    assert len(list(video.frames())) == 3
    assert len(video.problems) == n_problems
    with pytest.raises(MienError, match=r"Frame 2 .*\(2\.png\)"):
        video.frame(2)


def test_pages_in_one_file_are_refused_and_not_dropped(tmp_path: Path) -> None:
    pages = [Image.fromarray(noise(6, 8, seed=n)) for n in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(MienError, match="3 pictures in one file"):
        open_video(tmp_path / "stack.tif")


# GIF


def test_gif_with_its_own_durations(tmp_path: Path) -> None:
    films = [Image.fromarray(noise(8, 10, 3, seed=n)).quantize(64) for n in range(4)]
    films[0].save(tmp_path / "a.gif", save_all=True, append_images=films[1:], duration=[10, 70, 200, 50], loop=0)
    video = open_video(tmp_path / "a.gif")
    assert (video.n_frames, video.variable_rate, video.depth) == (4, True, 8)
    assert [frame.time for frame in video.frames()] == pytest.approx([0, 0.01, 0.08, 0.28])
    for frame, film in zip(video.frames(), films, strict=True):
        assert np.array_equal(frame.pixels, np.asarray(film.convert("RGB")))
    assert np.array_equal(video.frame(2).pixels, np.asarray(films[2].convert("RGB")))


def test_gif_written(tmp_path: Path) -> None:
    film = np.stack(list(moving(6)))
    video = open_video(write_video(tmp_path / "film.gif", film, 25))
    assert (video.n_frames, video.fps, video.height, video.width) == (6, 25, 48, 64)
    assert np.abs(video.read().astype(float) - film).mean() < 12


def test_gif_without_durations_plays_as_browsers_play_it(tmp_path: Path) -> None:
    films = [Image.fromarray(noise(8, 10, seed=n)) for n in range(3)]
    films[0].save(tmp_path / "a.gif", save_all=True, append_images=films[1:], duration=0)
    video = open_video(tmp_path / "a.gif")
    assert [frame.time for frame in video.frames()] == pytest.approx([0, 0.1, 0.2])


def test_a_frame_may_be_drawn_on(tmp_path: Path) -> None:
    path = tmp_path / "film.mov"
    film = np.repeat(noise(1, 48, 64, 3), 8, axis=0)
    for t in range(8):
        film[t, 5:9, 3 * t : 3 * t + 9] = t
    with av.open(str(path), "w") as container:  # stores what changes, as RGB: nothing is converted on reading
        out = container.add_stream("qtrle", 50)
        out.height, out.width, out.pix_fmt = 48, 64, "rgb24"
        for t, pixels in enumerate(film):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = t, Fraction(1, 50)
            container.mux(out.encode(picture))
        container.mux(out.encode())
    for index, frame in enumerate(open_video(path).frames()):
        assert np.array_equal(frame.pixels, film[index])
        frame.pixels[:] = 0


# Damage


def test_a_truncated_file_gives_what_is_whole_and_tells_the_rest(tmp_path: Path) -> None:
    film = noise(30, 40, 50)
    path = write_video(tmp_path / "film.mkv", film, 100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    video = open_video(path)
    back = video.read()
    assert 15 <= len(back) < 25
    assert np.array_equal(back, film[: len(back)])
    assert len(video.problems) == 1
    assert "ends too early" in video.problems[0]


def index_first(path: Path) -> Path:
    """The same film with its index before its frames, so that a part of the file can be read."""
    fast = path.with_name(f"fast-{path.name}")
    with av.open(str(path)) as source, av.open(str(fast), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return fast


def test_a_truncated_mp4_whose_index_comes_first(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mp4", 60, {"g": "15"})
    plain = decoded_plainly(path)
    data = index_first(path).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 4 // 5])
    video = open_video(tmp_path / "cut.mp4")
    frames = list(video.frames())
    assert 20 < len(frames) < 60
    assert all(np.array_equal(frame.pixels, plain[frame.index]) for frame in frames)
    assert "60 frames" in " ".join(video.problems)


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".ts", ".mkv", ".avi"])
def test_frames_of_a_cut_film_keep_their_numbers_wherever_it_was_cut(tmp_path: Path, ending: str) -> None:
    # The header of an AVI is as large as a small film.
    path = encode(tmp_path / f"film{ending}", 60, {"g": "15", **({"crf": "10"} if ending == ".avi" else {})})
    if ending in (".mp4", ".mov"):
        path = index_first(path)
    plain = decoded_plainly(path)
    data = path.read_bytes()
    seen = 0
    for cut in range(len(data) // 2, len(data), len(data) // 37):
        (tmp_path / f"cut{ending}").write_bytes(data[:cut])
        frames = list(open_video(tmp_path / f"cut{ending}").frames())
        wrong = [frame.index for frame in frames if not np.array_equal(frame.pixels, plain[frame.index])]
        assert wrong == []
        seen += len(frames)
    assert seen > 500


@pytest.mark.parametrize("flip", [0x00, 0x5A], ids=["lost", "flipped"])
@pytest.mark.parametrize("hit", [20, 27, 50])
def test_damage_in_the_middle_costs_no_more_than_up_to_the_next_key_frame(tmp_path: Path, hit: int, flip: int) -> None:
    path = encode(tmp_path / "film.mp4", 120, {"g": "20", "crf": "10"})
    plain = decoded_plainly(path)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0)]
    data = bytearray(path.read_bytes())
    begin, size = packets[hit]
    assert begin is not None
    part = slice(begin + (size // 3 if flip else 0), begin + size * 3 // 4)
    data[part] = bytes(flip and flip ^ byte for byte in data[part])  # lost sectors of a disk, a bad cable
    path.write_bytes(data)
    video = open_video(path)
    assert video.n_frames == 120
    frames = list(video.frames())
    missing = sorted(set(range(120)) - {frame.index for frame in frames})
    # One or two before it may wait in the decoder for their turn, and go down with it.
    assert missing
    assert set(missing) <= set(range(hit - 3, (hit // 20 + 1) * 20))
    assert [frame.index for frame in frames if not np.array_equal(frame.pixels, plain[frame.index])] == []
    assert [frame.index for frame in frames] == sorted(frame.index for frame in frames)
    assert any("cannot be read" in problem for problem in video.problems)
    assert np.array_equal(video.frame(119).pixels, plain[119])
    with pytest.raises(MienError, match=f"Frame {missing[-1]}"):
        video.frame(missing[-1])


@pytest.mark.parametrize("ending", [".mkv", ".ts"])
@pytest.mark.parametrize("hit", [19, 27, 50, 77])
def test_frames_after_lost_packets_keep_their_numbers(tmp_path: Path, hit: int, ending: str) -> None:
    """The beginning of a packet is lost, so that a reader of the file passes over it and some that follow."""
    path = encode(tmp_path / f"film{ending}", 120, {"g": "20", "crf": "10"})
    plain = decoded_plainly(path)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0)]
    begin, size = packets[hit]
    assert begin is not None
    whole = path.read_bytes()
    for lost in (slice(begin - 8, begin + size * 3 // 4), slice(begin, begin + size // 2)):
        data = bytearray(whole)
        data[lost] = bytes(lost.stop - lost.start)
        path.write_bytes(data)
        video = open_video(path)
        frames = list(video.frames())
        assert len(frames) < 120
        assert [frame.index for frame in frames if not np.array_equal(frame.pixels, plain[frame.index])] == []
        assert [frame.time for frame in frames] == pytest.approx([frame.index / 100 for frame in frames], abs=1e-3)
        assert any("cannot be read" in problem for problem in video.problems)


@pytest.mark.parametrize("ending", [".mkv", ".avi", ".h264"])
@pytest.mark.parametrize("hit", [20, 27, 50])
def test_a_frame_whose_number_is_not_known_after_damage_is_left_out(tmp_path: Path, hit: int, ending: str) -> None:
    path = encode(tmp_path / f"film{ending}", 120, {"g": "20", "crf": "10"})
    plain = decoded_plainly(path)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0)]
    begin, size = packets[hit]
    assert begin is not None
    data = bytearray(path.read_bytes())
    part = slice(begin + size // 3, begin + size * 3 // 4)
    data[part] = bytes(0x5A ^ byte for byte in data[part])
    path.write_bytes(data)
    video = open_video(path)
    frames = list(video.frames())
    assert len(frames) >= hit - 4
    assert [frame.index for frame in frames if not np.array_equal(frame.pixels, plain[frame.index])] == []
    assert any("cannot be read" in problem for problem in video.problems)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.mp4", b"", "empty"),
        ("a.mp4", b"hello world\n" * 50, "no video"),
        ("a.txt", b"hello world\n" * 50, "no video"),
        ("a.m3u8", b"#EXTM3U\n#EXTINF:1,\nother.ts\n", "no video"),
        ("a.mkv", bytes(range(256)) * 40, "no video"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "no picture"),
        ("a.gif", b"GIF89a", "no video"),
    ],
)
def test_what_is_no_video(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MienError) as error:
        open_video(tmp_path / name)
    assert found in error.value.found


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="There is no"):
        open_video(tmp_path / "missing.mp4")
    with pytest.raises(MienError, match="holds no picture"):
        open_video(tmp_path)
    with pytest.raises(MienError, match="holds no picture"):
        open_video([])
    with pytest.raises(MienError, match="frame rate -1"):
        open_video(tmp_path, fps=-1)


@pytest.mark.skipif(not Path("/dev/zero").is_char_device(), reason="devices of POSIX")
def test_devices_and_pipes_are_refused_and_not_read_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        for opened in (open_video, video_clip):
            with pytest.raises(MienError, match="a device or a pipe"):
                opened(path)


def test_sound_alone_is_no_video_and_sound_beside_is_passed_over(tmp_path: Path) -> None:
    for name, films in (("sound.mkv", 0), ("both.mkv", 1)):
        with av.open(str(tmp_path / name), "w") as container:
            sound = container.add_stream("pcm_s16le", 8000)
            film = container.add_stream("ffv1", 50) if films else None
            if film is not None:
                film.height, film.width, film.pix_fmt = 8, 10, "gray"
                for t in range(4):
                    picture = av.VideoFrame.from_ndarray(noise(8, 10, seed=t), format="gray")
                    picture.pts, picture.time_base = t, Fraction(1, 50)
                    container.mux(film.encode(picture))
                container.mux(film.encode())
            wave = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
            wave.sample_rate = 8000
            container.mux(sound.encode(wave))
            container.mux(sound.encode())
    with pytest.raises(MienError, match="no video"):
        open_video(tmp_path / "sound.mkv")
    video = open_video(tmp_path / "both.mkv")
    assert np.array_equal(video.read(), np.stack([noise(8, 10, seed=t) for t in range(4)]))
    assert video.problems == []


# Memory


def test_two_thousand_frames_are_never_held_at_once(tmp_path: Path) -> None:
    def film(n: int) -> Iterator[Array]:
        ground = cv2.GaussianBlur(noise(2100, 100, 3), (0, 0), 3)
        for t in range(n):
            yield ground[t : t + 100]

    one = 30_000
    tracemalloc.start()
    path = write_video(tmp_path / "film.mkv", film(2000), 200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * one
    assert sum(1 for _ in open_video(write_video(tmp_path / "short.mkv", film(50), 200)).frames()) == 50
    # Frames lie in FFmpeg's memory, which only the system sees; all of them would be 57 MiB.
    before = resident()
    largest, n = 0, 0
    for n, frame in enumerate(open_video(path).frames(), 1):
        assert frame.pixels.nbytes == one
        if n % 50 == 0:
            largest = max(largest, resident())
    assert n == 2000
    assert largest - before < 16 * 2**20


def resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.is_file() else 0


def test_reading_too_much_at_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = open_video(write_video(tmp_path / "film.mkv", noise(20, 10, 10), 200))
    monkeypatch.setattr(module, "READ_LIMIT", 1000)
    with pytest.raises(MienError, match=r"video\.frames\(\)"):
        video.read()
    assert len(video.read(3, 13)) == 10


# Cameras


def test_a_missing_camera() -> None:
    for source in (97, "camera:97"):
        with pytest.raises(MienError, match="There is no camera 97"):
            open_video(source)


def test_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        released = 0

        def __init__(self, number: int) -> None:
            self.left = 4

        def isOpened(self) -> bool:
            return True

        def get(self, what: int) -> float:
            return 0.0

        def read(self) -> tuple[bool, Array | None]:
            self.left -= 1
            return (True, noise(6, 8, 3, seed=self.left)) if self.left >= 0 else (False, None)

        def release(self) -> None:
            Fake.released += 1

    monkeypatch.setattr(cv2, "VideoCapture", Fake)
    video = open_video("camera:0")
    assert (video.name, video.height, video.width, video.fps, video.n_frames) == ("camera 0", 6, 8, None, None)
    frames = list(video.frames(1))
    assert [frame.index for frame in frames] == [1, 2, 3]
    assert np.array_equal(frames[0].pixels, noise(6, 8, 3, seed=2)[..., ::-1])
    assert all(frame.time >= 0 for frame in frames)
    assert video.problems == ["The camera stopped after 4 frames."]
    assert len(video.read(0, 2)) == 2
    with pytest.raises(MienError, match="without a known end"):
        video.read()
    assert Fake.released == 3


# Rates and real films


def test_the_sentence_about_the_frame_rate() -> None:
    assert frame_rate_warning(60) is None
    assert frame_rate_warning(60000 / 1001) is None
    assert frame_rate_warning(200) is None
    assert "not known" in (frame_rate_warning(None) or "")
    assert "30 frames per second" in (frame_rate_warning(30) or "")
    assert "1.2 to 15 frames" in (frame_rate_warning(30) or "")


def test_a_real_film() -> None:
    path = SHARED / "video" / "single_face.mp4"
    if not path.is_file():
        pytest.skip("the real films are not beside the project")
    video = open_video(path)
    assert (video.n_frames, video.height, video.width, video.colour, video.depth) == (72, 360, 640, True, 8)
    assert video.fps == pytest.approx(30, abs=0.1)
    frames = list(video.frames())
    assert len(frames) == 72
    for index in (0, 13, 40, 71):
        assert np.array_equal(video.frame(index).pixels, frames[index].pixels)
    assert video.problems == []


def test_opening_is_light() -> None:
    modules = [name for name in sys.modules if name.split(".")[:3] == ["mien", "io", "video"]]
    assert len(modules) > 5
    for name in modules:
        assert "torch" not in {other.split(".")[0] for other in vars(sys.modules[name])}
