# Downloads an installer and runs it.
& {
    $ErrorActionPreference = 'Stop'
    $given = @($args -ne $null)
    $folder = Join-Path ([IO.Path]::GetTempPath()) "muster-$([Guid]::NewGuid())"
    $file = "$folder\setup.exe"
    $code = 2

    try {
        if ("$env:MUSTER_OPERATION-$env:MUSTER_WANTED" -ne 'apply-present') {
            throw 'an installer only installs: checking and removing need commands of their own'
        }
        # Nobody else may put anything next to what is run.
        $rights = New-Object Security.AccessControl.DirectorySecurity
        $sddl = 'D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)'
        $rights.SetSecurityDescriptorSddlForm($sddl, 'Access')
        $null = [IO.Directory]::CreateDirectory($folder, $rights)
        $code = 5
        if ($env:MUSTER_URL -match '\Ahttps?://') {
            # Older ones of Windows leave it out.
            [Net.ServicePointManager]::SecurityProtocol =
                [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
            $client = New-Object Net.WebClient
            $client.Headers['User-Agent'] = 'Muster'
            $client.DownloadFile($env:MUSTER_URL, $file)
        } else { [IO.File]::Copy($env:MUSTER_URL, $file) }
        $stream = [IO.File]::OpenRead($file)
        try { $sum = [Security.Cryptography.SHA256]::Create().ComputeHash($stream) }
        finally { $stream.Dispose() }
        if ([BitConverter]::ToString($sum).Replace('-', '') -ne $env:MUSTER_SHA256) {
            $code = 3
            throw 'the file has another SHA-256 than expected: nothing was run'
        }
        $code = 1
        # Installers read quotes in ways of their own: whoever writes some knows which. Behind /D=
        # many want none at all.
        $words = foreach ($word in $given) {
            if ($word -match '"|\A/D=' -or $word -notmatch '\s|\A\z') { $word }
            else { '"' + ($word -replace '(\\+)\z', '$1$1') + '"' }
        }
        $start = New-Object Diagnostics.ProcessStartInfo $file, ($words -join ' ')
        $start.UseShellExecute = $false
        $process = [Diagnostics.Process]::Start($start)
        $process.WaitForExit()
        $code = $process.ExitCode
        # The last two say that Windows has to boot again, or does.
        if (0, 3010, 1641 -notcontains $code) {
            throw "the installer ended with ${code}: see in its manual what this says"
        }
        if ($code -ne 0) { [Console]::Out.WriteLine('muster: Windows has to boot again') }
        $code = 0
    } catch {
        $advice = if ($code -eq 5) { '; see that this machine reaches where the file is' }
        [Console]::Error.WriteLine("muster: $_$advice")
    }
    finally { Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue }
    exit $code
} @args
